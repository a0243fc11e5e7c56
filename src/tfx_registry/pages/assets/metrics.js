// One metric on one slice over the versions, with its interval and the bounds that held then.

const series = doc.metrics.series;
const metricNames = [...new Set(series.map((one) => one.metric))];
const byMetric = grouped(series, (one) => one.metric);
const chosen = { metric: 0, slice: "overall", filter: "" };

// The columns of a point, by name: points are arrays because there are very many of them.
function point(row) {
  const made = {};
  doc.metrics.columns.forEach((name, place) => (made[name] = row[place] ?? null));
  for (const name of doc.metrics.columns) if (name !== "passed") made[name] = number(made[name]);
  return made;
}

function startMetrics() {
  const wanted = metricNames.findIndex((name) => series.some((one) => one.metric === name &&
    one.points.some((row) => row[8] !== undefined && row[8] !== null)));
  chosen.metric = Math.max(wanted, 0);
  drawMetricChoice();
  range.redraw.push(drawMetrics);
}

function drawMetricChoice() {
  if (!metricNames.length) {
    replace("metric-choice", el("p", null, "No metric is known of any version."));
    $("metric-numbers").hidden = true;
    return;
  }
  const slices = byMetric.get(metricNames[chosen.metric]);
  const needle = chosen.filter.toLowerCase();
  const offered = slices.filter((one) => one.slice.toLowerCase().includes(needle));
  let place = offered.findIndex((one) => one.slice === chosen.slice);
  if (place < 0 && offered.length) {
    place = 0;
    chosen.slice = offered[0].slice;
  }
  const [metric, metricList] = select("Metric", metricNames, chosen.metric, (index) => {
    chosen.metric = index;
    drawMetricChoice();
    drawMetrics();
  });
  metricList.id = "metric-select";
  const [slice, sliceList] = select("Slice", offered.map((one) => one.slice), place, (index) => {
    chosen.slice = offered[index].slice;
    drawMetrics();
  });
  sliceList.id = "slice-select";
  const keep = $("slice-filter");
  const find = keep ? keep.parentElement : slices.length > 12 && el("label", null, "Find a slice",
    el("input", { type: "search", id: "slice-filter", oninput: (event) => {
      chosen.filter = event.target.value;
      drawMetricChoice();
      event.target.focus();
      drawMetrics();
    } }));
  replace("metric-choice", metric, slice, find);
}

function drawMetrics() {
  const box = $("metric-chart");
  const one = series.find((s) => s.metric === metricNames[chosen.metric] && s.slice === chosen.slice);
  if (!one) {
    box.replaceChildren();
    return;
  }
  const points = one.points.map(point).filter((p) => {
    const index = indexOf.get(p.number);
    return index !== undefined && index >= range.from && index < range.to;
  });
  const f = frame(box, 300), scale = scaleOf(points, 14, 250);
  f.chart.setAttribute("aria-label", `${one.metric} on ${one.slice} over versions; arrow keys go from one to the next`);
  f.chart.append(drawGrid(f, scale));
  for (const name of ["lower_bound", "upper_bound", "least_by_baseline", "most_by_baseline", "no_worse_than"]) {
    drawBound(f, scale, points, name);
  }
  drawValues(f, scale, points);
  const known = new Map(points.map((p) => [p.number, p]));
  f.chart.append(columns(f, 8, 254, (version) => sayPoint(one, version, known.get(version.number)), $("metric-readout")), axis(f, 270));
  box.replaceChildren(el("h3", null, theirs(one.metric), ", ", theirs(one.slice)), f.chart);
  drawNumbers(points);
}

function scaleOf(points, top, bottom) {
  const core = points.flatMap((p) => [p.value, p.lower_bound, p.upper_bound, p.least_by_baseline, p.most_by_baseline, p.no_worse_than])
    .filter((n) => n !== null && Number.isFinite(n));
  let low = Math.min(...core), high = Math.max(...core);
  if (!core.length) [low, high] = [0, 1];
  const span = high - low || Math.abs(high) || 1;
  // A very wide interval must not press everything else together: it is cut off.
  for (const p of points) {
    if (Number.isFinite(p.lower) && p.lower !== null) low = Math.min(low, Math.max(p.lower, low - span));
    if (Number.isFinite(p.upper) && p.upper !== null) high = Math.max(high, Math.min(p.upper, high + span));
  }
  const room = (high - low || span) * 0.06;
  low -= room;
  high += room;
  const y = (n) => bottom - ((Math.min(Math.max(n, low), high) - low) / (high - low)) * (bottom - top);
  return { low, high, top, bottom, y };
}

function drawGrid(f, scale) {
  const raw = (scale.high - scale.low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const group = svg("g", { "aria-hidden": "true" });
  for (let n = Math.ceil(scale.low / step) * step; n <= scale.high && step > 0; n += step) {
    const y = scale.y(n);
    group.append(svg("line", { class: "grid", x1: f.left, x2: f.right, y1: y, y2: y }),
      svg("text", { class: "soft", x: f.left - 8, y: y + 4, "text-anchor": "end" }, shown(Math.abs(n) < step / 1e6 ? 0 : n)));
    if (n + step === n) break;
  }
  return group;
}

// One line for as long as a bound stays what it is.
function drawBound(f, scale, points, name) {
  const kind = name.endsWith("_bound") ? "b" : name === "no_worse_than" ? "nw" : "bb";
  const far = name === "lower_bound" ? scale.bottom : scale.top;
  let begun = null;
  points.forEach((p, place) => {
    const bound = p[name], next = points[place + 1];
    if (bound === null || !Number.isFinite(bound)) return;
    begun = begun ?? p.number;
    if (next && next[name] === bound && indexOf.get(next.number) === indexOf.get(p.number) + 1) return;
    const x1 = f.x(indexOf.get(begun)) - f.step / 2, x2 = f.x(indexOf.get(p.number)) + f.step / 2, y = scale.y(bound);
    begun = null;
    if (kind === "b") f.chart.append(svg("rect", { class: "out", x: x1, width: x2 - x1, y: Math.min(y, far), height: Math.abs(far - y) }));
    f.chart.append(svg("line", { class: kind, x1, x2, y1: y, y2: y }));
  });
}

const hasInterval = (p) => Number.isFinite(p.lower) && Number.isFinite(p.upper) && p.lower !== null && p.upper !== null;

function drawIntervals(f, scale, points) {
  const known = points.filter(hasInterval), x = (p) => f.x(indexOf.get(p.number));
  if (f.step < 6) {
    const along = (list, end) => list.map((p) => `${x(p)} ${scale.y(p[end])}`);
    const around = [...along(known, "upper"), ...along([...known].reverse(), "lower")];
    if (known.length) f.chart.append(svg("path", { class: "band", d: `M${around.join("L")}Z` }));
    return;
  }
  const cap = Math.min(4, f.step / 4);
  for (const p of known) {
    const low = scale.y(p.lower), high = scale.y(p.upper), left = x(p) - cap;
    f.chart.append(svg("path", { class: "i", d: `M${x(p)} ${low}V${high}M${left} ${low}h${2 * cap}M${left} ${high}h${2 * cap}` }));
  }
}

function drawValues(f, scale, points) {
  const finite = points.filter((p) => Number.isFinite(p.value));
  const place = (p) => [f.x(indexOf.get(p.number)), scale.y(p.value)];
  f.chart.append(svg("polyline", { class: "value", points: finite.map((p) => place(p).join(",")).join(" ") }));
  drawIntervals(f, scale, finite);
  const r = Math.min(5, Math.max(2.2, f.step / 3));
  for (const p of [...finite].sort((a, b) => (a.passed === false) - (b.passed === false))) {
    const [x, y] = place(p);
    f.chart.append(SHAPES[p.passed === null ? "undecided" : p.passed ? "passed" : "blocked"](x, y, r));
    if (servingNow.has(p.number)) f.chart.append(svg("circle", { class: "ring", cx: x, cy: y, r: r + 4 }));
  }
  for (const p of points) {
    if (Number.isFinite(p.value)) continue;
    const x = f.x(indexOf.get(p.number));
    f.chart.append(svg("text", { x, y: scale.bottom - 4, "text-anchor": "middle" }, shown(p.value)));
  }
}

const boundsText = (p) => [
  p.lower_bound !== null && `at least ${shown(p.lower_bound)}`,
  p.upper_bound !== null && `at most ${shown(p.upper_bound)}`,
  p.least_by_baseline !== null && `by the baseline at least ${shown(p.least_by_baseline)}`,
  p.most_by_baseline !== null && `by the baseline at most ${shown(p.most_by_baseline)}`,
  p.no_worse_than !== null && `no worse than ${shown(p.no_worse_than)}, by the baseline`,
].filter(Boolean).join(", ");
const answerText = (p) => (p.passed === null ? "not checked" : p.passed ? "✓ passed" : "✗ failed");
const intervalText = (p) => (p.lower === null ? "" : `${shown(p.lower)} to ${shown(p.upper)}`);

function sayPoint(one, version, p) {
  if (!p) return `Version ${version.number}: ${one.metric} on ${one.slice} is not known`;
  return `Version ${version.number}: ${one.metric} on ${one.slice} is ${shown(p.value)}` +
    (p.lower === null ? "" : `, interval ${intervalText(p)}`) +
    (boundsText(p) ? `; asked: ${boundsText(p)}` : "") + `; ${answerText(p)}` +
    (p.examples === null ? "" : ` (${counted(p.examples, "example")})`);
}

function drawNumbers(points) {
  const details = $("metric-numbers");
  const write = () => details.open && details.lastElementChild.replaceChildren(
    table(["version", "value", "interval", "asked", "answer", "examples"], points.map((p) =>
      [p.number, shown(p.value), intervalText(p), boundsText(p), answerText(p), p.examples ?? ""])));
  details.ontoggle = write;
  write();
}

function drawMetricLegend() {
  const line = (kind, text) => sample(text, svg("line", { class: kind, x1: 1, x2: 25, y1: 8, y2: 8 }));
  const named = (name, text) => sample(text, SHAPES[name](13, 8, 5));
  replace("metric-legend", named("passed", "passed"), named("blocked", "failed"), named("undecided", "not checked"),
    sample("serves now", svg("circle", { class: "ring", cx: 13, cy: 8, r: 7 })),
    sample("confidence interval", svg("path", { class: "i", d: "M13 1V15M9 1h8M9 15h8" })),
    line("b", "bound of the policy"), line("bb", "bound by the baseline"), line("nw", "no worse than the baseline"));
}
