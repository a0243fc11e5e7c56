// Which versions the charts show, and where each stands from left to right.

const range = { from: 0, to: versions.length, redraw: [] };
const SIZES = [10, 20, 40, 80, 160, 320];

// Times only ever go on from left to right, whatever the clocks of the registering machines said.
const registeredAt = [];
for (const version of versions) {
  registeredAt.push(Math.max(Date.parse(version.time), registeredAt.at(-1) ?? -Infinity));
}
const madeAt = Date.parse(doc.made);

function showRange(from, size) {
  range.to = Math.min(versions.length, Math.max(from, 0) + size);
  range.from = Math.max(0, range.to - size);
  drawRangeControls(size);
  for (const draw of range.redraw) draw();
}

function drawRangeControls(size) {
  const sizes = [...SIZES.filter((n) => n < versions.length), versions.length];
  const texts = sizes.map((n) => (n === versions.length ? "all " + n : String(n)));
  const [label] = select("Versions at once", texts, Math.max(sizes.indexOf(size), 0), (index) =>
    showRange(range.to - sizes[index], sizes[index]));
  const step = (text, from, disabled) =>
    el("button", { type: "button", disabled, onclick: () => showRange(from, size) }, text);
  const first = versions[range.from], last = versions[range.to - 1];
  const shownNow = el("span", null, first === last ? `version ${first.number}` : `versions ${first.number} to ${last.number}`);
  if (sizes.length === 1) replace("range", shownNow);
  else replace("range", label,
    step("← older", range.from - size, range.from === 0),
    step("newer →", range.from + size, range.to === versions.length),
    shownNow);
}

function startRange() {
  const width = $("timeline").clientWidth;
  const fitting = Math.max(10, Math.floor(width / 26));
  const size = SIZES.filter((n) => n <= fitting).at(-1) || versions.length;
  showRange(versions.length, Math.min(size, versions.length));
}

// The frame of a chart: columns of versions that stand below each other in all charts.
function frame(box, height) {
  const width = Math.max(box.clientWidth, 280);
  const left = width < 560 ? 72 : 112, right = 14;
  const step = (width - left - right) / Math.max(range.to - range.from, 1);
  const x = (index) => left + (index - range.from + 0.5) * step;
  const at = (time) => {
    let low = -1, high = versions.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (registeredAt[middle] <= time) low = middle;
      else high = middle - 1;
    }
    if (low < 0) return left;
    const next = low + 1 < versions.length ? registeredAt[low + 1] : madeAt;
    const part = next > registeredAt[low] ? (time - registeredAt[low]) / (next - registeredAt[low]) : 0;
    const room = low + 1 < versions.length ? step : step / 2;
    return Math.min(Math.max(x(low) + Math.min(part, 1) * room, left), width - right);
  };
  const chart = svg("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, height,
    role: "group" });
  return { chart, width, height, left, right: width - right, step, x, at };
}

const inRange = () => versions.slice(range.from, range.to);

// One stop for the Tab key; arrows go from version to version, as in a list.
function columns(frame, top, bottom, say, readout) {
  const links = inRange().map((version, place) => {
    const index = range.from + place, text = say(version, index);
    const link = svg("a", { href: "#version=" + version.number, "aria-label": text,
      tabindex: place === range.to - range.from - 1 ? 0 : -1 },
      svg("rect", { class: "hit", x: frame.x(index) - frame.step / 2, y: top,
        width: frame.step, height: bottom - top }));
    const tell = () => readout && (readout.textContent = visible(text));
    link.addEventListener("focus", tell);
    link.addEventListener("mouseenter", tell);
    return link;
  });
  links.forEach((link, place) => link.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: links.length - 1 }[event.key];
    if (to === undefined || !links[to]) return;
    event.preventDefault();
    link.setAttribute("tabindex", -1);
    links[to].setAttribute("tabindex", 0);
    links[to].focus();
  }));
  return svg("g", null, links);
}

function axis(frame, y) {
  const every = Math.max(1, Math.ceil(34 / frame.step));
  // A date is some 70 pixels wide; that of the last version moves in from the edge.
  const dates = Math.max(1, Math.ceil((frame.width < 560 ? 124 : 100) / frame.step));
  const group = svg("g", { "aria-hidden": "true" });
  const last = range.to - 1;
  for (let index = range.from; index < range.to; index++) {
    const back = last - index;
    if (back % every === 0) {
      group.append(svg("text", { x: frame.x(index), y, "text-anchor": "middle" }, versions[index].number));
    }
    if (back % dates === 0) {
      group.append(svg("text", { x: Math.min(frame.x(index), frame.right - 22), y: y + 16, class: "soft date",
        "text-anchor": "middle" }, versions[index].time.slice(0, 10)));
    }
  }
  return group;
}
