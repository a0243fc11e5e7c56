// The life of the versions: one column each, one lane for each thing that can happen to them.

const LANE = 30;

// Shapes that differ without their colour as well.
const SHAPES = {
  registered: (x, y, r) => svg("circle", { class: "dot", cx: x, cy: y, r: r * 0.8 }),
  archived: (x, y, r) =>
    svg("rect", { class: "hollow", x: x - r, y: y - r, width: 2 * r, height: 2 * r }),
  passed: (x, y, r) => svg("circle", { class: "pass", cx: x, cy: y, r }),
  blocked: (x, y, r) => svg("path", { class: "fail",
    d: `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}` }),
  undecided: (x, y, r) => svg("circle", { class: "hollow", cx: x, cy: y, r: r * 0.7 }),
  approved: (x, y, r) =>
    svg("path", { class: "pass", d: `M${x - r * 1.1} ${y + r}h${r * 2.2}L${x} ${y - r}Z` }),
  rejected: (x, y, r) =>
    svg("path", { class: "down", d: `M${x - r * 1.1} ${y - r}h${r * 2.2}L${x} ${y + r}Z` }),
  overridden: (x, y, r) => svg("path", { class: "warn",
    d: `M${x} ${y - r * 1.3}L${x + r * 1.3} ${y}L${x} ${y + r * 1.3}L${x - r * 1.3} ${y}Z` }),
  back: (x, y, r) =>
    svg("path", { class: "back", d: `M${x + r} ${y - r}L${x - r} ${y}L${x + r} ${y + r}M${x - r} ${y}h${r * 3}` }),
};

function servingLanes() {
  const lanes = grouped(doc.periods, (p) => JSON.stringify([p.destination, p.trial]));
  const places = new Set(doc.periods.map((p) => p.destination));
  return [...lanes.values()].map((periods) => {
    const { destination, trial } = periods[0];
    const name = trial ? "on trial" : "serving";
    const place = destination.replace(/\/+$/, "").split("/").at(-1);
    return { periods, title: destination, name: places.size > 1 ? `${name}: ${place}` : name };
  });
}

function drawTimeline() {
  const box = $("timeline-chart"), serving = servingLanes();
  const names = ["registered", "gate", "people", ...serving.map((lane) => lane.name)];
  const bottom = names.length * LANE + 6;
  const f = frame(box, bottom + 40);
  f.chart.setAttribute("aria-label", "Timeline of versions; arrow keys go from one to the next");
  const r = Math.min(5, Math.max(2.2, f.step / 3)), middle = (lane) => lane * LANE + LANE / 2;
  names.forEach((name, lane) => f.chart.append(
    // Bars hold numbers; no line goes through them.
    svg("line", { class: "lane", x1: f.left, x2: f.right, y1: middle(lane) + (lane > 2 ? 12 : 0), y2: middle(lane) + (lane > 2 ? 12 : 0) }),
    svg("text", { x: 0, y: middle(lane) + 4 }, cut(name, f.left < 100 ? 11 : 17),
      lane > 2 && svg("title", null, serving[lane - 3].title))));
  const marks = svg("g", { "aria-hidden": "true" });
  // Where marks lie close together, those of what went wrong lie on top.
  const order = inRange().map((_, place) => range.from + place).sort((a, b) => wrong(versions[a]) - wrong(versions[b]));
  for (const index of order) drawLife(marks, f.x(index), r, middle, versions[index]);
  serving.forEach((lane, place) => {
    for (const period of lane.periods) drawPeriod(marks, f, middle(place + 3), period);
  });
  f.chart.append(marks, columns(f, 0, bottom, sayLife, $("timeline-readout")), axis(f, bottom + 14));
  box.replaceChildren(f.chart);
}

function wrong(version) {
  const decision = lastDecision(version.number);
  return Number(Boolean(decision) && decision.verdict === "blocked") + Number(version.state === "rejected");
}

function drawLife(group, x, r, middle, version) {
  const decision = lastDecision(version.number);
  group.append(SHAPES[version.archived ? "archived" : "registered"](x, middle(0), r));
  group.append(SHAPES[decision ? decision.verdict : "undecided"](x, middle(1), r));
  const words = (version.approvals || []).map((word) => (word.approved ? "approved" : "rejected"));
  const said = [...new Set(words), ...(overridesOf.has(version.number) ? ["overridden"] : [])];
  said.forEach((word, place) => {
    const shift = (place - (said.length - 1) / 2) * Math.min(2.6 * r, 12);
    group.append(SHAPES[word](x + shift, middle(2), r * 0.9));
  });
}

function drawPeriod(group, f, y, period) {
  const start = f.at(Date.parse(period.start)), end = period.end ? f.at(Date.parse(period.end)) : f.right;
  if (end <= f.left || start >= f.right) return;
  // What served for an instant has no bar, but a mark where it was rolled back.
  if (!period.end || end - start >= 0.2) {
    const kind = `bar${end - start < 4 ? " thin" : ""}${period.trial ? " trial" : ""}${period.end ? "" : " now"}`;
    group.append(svg("rect", { class: kind, x: start, y: y - 10, rx: 3, width: Math.max(end - start - 1, 1), height: 20 }));
    if (end - start > 9 * String(period.number).length + 6) {
      group.append(svg("text", { x: (start + end) / 2, y: y + 4, "text-anchor": "middle" }, period.number));
    }
  }
  if (period.ended_by === "rolled_back" && f.step > 5) group.append(SHAPES.back(end - 1, y - 12, 4));
}

function sayLife(version) {
  const decision = lastDecision(version.number);
  const parts = [`Version ${version.number}: ${stateOf(version)}`, `registered ${moment(version.time)} by ${version.actor}`];
  if (decision) {
    const first = decision.reasons[0];
    parts.push(`gate: ${decision.verdict}` + (decision.baseline ? ` against ${decision.baseline}` : "") + (first ? `, ${first}` : ""));
  }
  for (const word of version.approvals || []) {
    parts.push(`${word.approved ? "approved" : "rejected"} by ${word.actor}`);
  }
  for (const period of periodsOf.get(version.number) || []) {
    parts.push(`${period.trial ? "on trial" : "served"} from ${moment(period.start)}` +
      (period.end ? ` to ${moment(period.end)}` : "") + (period.ended_by === "rolled_back" ? ", rolled back" : ""));
  }
  return parts.join("; ");
}

function sample(text, ...shapes) {
  return el("span", null, svg("svg", { viewBox: "0 0 26 16", "aria-hidden": "true" }, shapes), text);
}

function drawTimelineLegend() {
  const named = (name, text) => sample(text, SHAPES[name](13, 8, 5));
  const bar = (kind, text) =>
    sample(text, svg("rect", { class: "bar " + kind, x: 1, y: 1, width: 24, height: 14, rx: 3 }));
  replace("timeline-legend", named("registered", "registered"), named("archived", "archived"),
    named("passed", "passed the gate"), named("blocked", "blocked"), named("undecided", "not decided"),
    named("approved", "approved"), named("rejected", "rejected"), named("overridden", "gate overridden"),
    bar("now", "serves now"), bar("", "served"), bar("trial", "on trial"), named("back", "rolled back"));
}
