// The lineage as a picture: data on the left, then runs, the version, and what came of it.

const BOX = { width: 236, line: 18, gapX: 48, gapY: 14, lane: 12, most: 9, letters: 28 };

// The page of a single version leads to the pages of others; the model page holds all of them.
const single = live && live.single;
const lineageAddress = (number) => (single ? `${live.base}/versions/${number}/lineage` : "#lineage=" + number);

function startLineage() {
  const first = doc.serving[0] || doc.trials[0];
  showLineageChoice(first ? first.number : versions.at(-1).number);
}

function showLineageChoice(number) {
  if (!indexOf.has(number)) return;
  const texts = versions.map((version) => `${version.number}: ${stateOf(version)}`).reverse();
  const [list, box] = select("Version", texts, versions.length - 1 - indexOf.get(number), (index) => {
    location.hash = "#lineage=" + versions[versions.length - 1 - index].number;
  });
  box.id = "lineage-select";
  replace("lineage-choice", list);
  const known = doc.lineage[number];
  drawLineage($("lineage-graph"), known ? withRun(known, number) : recordedGraph(number), Boolean(known));
  if (!known && live) loadLineage(number);
}

async function loadLineage(number) {
  const answer = await fetch(`${live.api}/versions/${number}/lineage`);
  if (!answer.ok) return;
  doc.lineage[number] = await answer.json();
  const shownNow = versions[versions.length - 1 - $("lineage-select").selectedIndex].number;
  if (shownNow === number) drawLineage($("lineage-graph"), withRun(doc.lineage[number], number), true);
}

// Where the store knows no pipeline, the run is what was recorded with the version.
function withRun(graph, number) {
  const origin = versions[indexOf.get(number)].origin || {};
  if (!(origin.run_id || origin.pipeline_name) || graph.nodes.some((node) => node.kind === "execution")) return graph;
  const run = { id: "run", kind: "execution", type: "run", label: [origin.pipeline_name, origin.run_id].filter(Boolean).join(" "), uri: "",
    properties: { code: origin.code_revision || "" } };
  const edges = graph.edges.map((edge) => (edge.target === graph.root && edge.source.startsWith("artifact:") ? { ...edge, target: "run" } : edge));
  return { ...graph, nodes: [...graph.nodes, run], edges: [...edges, { source: "run", target: graph.root, role: "" }] };
}

function recordedGraph(number) {
  const version = versions[indexOf.get(number)], root = "version";
  const nodes = [{ id: root, kind: "version", label: `${doc.model}:${number} (${stateOf(version)})`, properties: {} }], edges = [];
  const add = (node, source, target, role) => {
    if (!nodes.some((other) => other.id === node.id)) nodes.push({ properties: {}, ...node });
    edges.push({ source, target, role });
  };
  for (const [place, source] of (version.sources || []).entries()) {
    add({ id: "artifact:" + place, kind: "artifact", type: source.type_name, label: `${source.type_name} ${source.uri}` }, "artifact:" + place, root, source.key);
  }
  const decision = lastDecision(number);
  if (decision) {
    add({ id: "decision", kind: "decision", label: `${decision.verdict} by ${decision.actor}`, properties: { verdict: decision.verdict } }, root, "decision", "");
  }
  for (const period of periodsOf.get(number) || []) {
    add({ id: "event:" + period.event, kind: "deployment", label: `serves as ${period.alias} in ${period.destination}`,
      properties: { current: period.end ? "no" : "yes", time: period.start, until: period.end || "" } }, root, "event:" + period.event, "");
  }
  return withRun({ root, nodes, edges, truncated: false }, number);
}

// Columns by the longest way to the version, so that every arrow goes to the right; what leads to
// the version has negative ones.
function columnsOf(graph) {
  const column = new Map([[graph.root, 0]]);
  const walk = (from, to, sign) => {
    const next = grouped(graph.edges, (edge) => edge[from]), depth = new Map(), open = new Set();
    const reach = (id) => {
      if (id === graph.root) return 0;
      if (depth.has(id) || open.has(id)) return depth.get(id) ?? null;
      open.add(id);
      const ways = (next.get(id) || []).map((edge) => reach(edge[to])).filter((way) => way !== null);
      depth.set(id, ways.length ? 1 + Math.max(...ways) : null);
      return depth.get(id);
    };
    for (const node of graph.nodes) {
      const way = column.has(node.id) ? null : reach(node.id);
      if (way !== null) column.set(node.id, sign * way);
    }
  };
  walk("source", "target", -1);
  walk("target", "source", 1);
  // A baseline leads to a decision and not to the version: it stands beside the version.
  for (const node of graph.nodes) if (!column.has(node.id)) column.set(node.id, 0);
  return column;
}

const KINDS = { artifact: "data", execution: "run", version: "version", decision: "decision", alias: "alias", deployment: "deployment", event: "event" };

// What kind of thing a node is, and which, in one line or two.
function wordsOf(node) {
  const seen = node.properties || {};
  const when = seen.current === "yes" ? ", now" : seen.until ? `, until ${seen.until.slice(0, 10)}` : "";
  const parts = node.kind === "version" ? /^(.*) \((.*)\)$/.exec(node.label) : node.kind === "execution" && /^(.*), run (.*)$/.exec(node.label);
  if (parts) return [`${KINDS[node.kind]}${node.kind === "version" ? "," : ""} ${parts[2]}`, inTwo(parts[1], middleCut)];
  // The ends of paths are what differs.
  if (node.kind === "artifact") return [node.type || "data", inTwo(node.label.slice(node.type ? node.type.length + 1 : 0), tail)];
  return [(KINDS[node.kind] || node.kind) + when, inTwo(node.label, middleCut)];
}

// Breaks behind a space or a hyphen, or before a slash, where there is one: most words stay whole.
function inTwo(text, shorten) {
  const most = BOX.letters;
  if (text.length <= most) return [text];
  const short = shorten(text, 2 * most);
  const places = [...short.matchAll(/[ -]|.(?=\/)/g)].map((found) => found.index + 1);
  const place = places.filter((at) => at <= most && short.length - at <= most).at(-1) || Math.ceil(short.length / 2);
  return [short.slice(0, place), short.slice(place)];
}

const tail = (text, length) => (text.length <= length ? text : "…" + text.slice(1 - length));

function lineageNode(graph, node, x, y, tall) {
  const seen = node.properties || {}, [kind, lines] = wordsOf(node);
  const blocked = seen.verdict === "blocked" || /\(blocked/.test(node.label);
  const name = `node ${node.kind}${node.id === graph.root ? " root" : ""}${seen.current === "yes" ? " now" : ""}${blocked ? " blocked" : ""}`;
  const own = node.kind === "version" && (seen.model === undefined || seen.model === doc.model) && Number(seen.number);
  const box = svg("g", { class: name }, svg("title", null, node.label),
    svg("rect", { x, y, width: BOX.width, height: tall, rx: node.kind === "execution" ? 20 : 4 }),
    svg("text", { class: "kind", x: x + 12, y: y + 18 }, cut(kind, 29)),
    lines.map((line, place) => svg("text", { x: x + 12, y: y + 18 + (place + 1) * BOX.line }, line)));
  return own && (single || indexOf.has(own)) && node.id !== graph.root ? svg("a", { href: lineageAddress(own) }, box) : box;
}

// Paths differ at both ends.
const middleCut = (text, length) =>
  text.length <= length ? text : text.slice(0, Math.ceil(length / 3)) + "…" + text.slice(-Math.floor((length * 2) / 3) + 1);

function drawLineage(box, graph, whole) {
  const column = columnsOf(graph), stacks = grouped(graph.nodes, (node) => column.get(node.id));
  const order = [...stacks.keys()].sort((a, b) => a - b), place = new Map(), left = [];
  for (const stack of stacks.values()) {
    stack.sort((a, b) => (b.id === graph.root) - (a.id === graph.root) || (b.properties?.current === "yes") - (a.properties?.current === "yes"));
    if (stack.length > BOX.most) left.push(...stack.splice(BOX.most));
  }
  const tallest = Math.max(...order.map((key) => stacks.get(key).length));
  const drawn = [...stacks.values()].flat();
  const tall = 28 + BOX.line * Math.max(...drawn.map((node) => wordsOf(node)[1].length)), row = tall + BOX.gapY;
  const boxes = tallest * row + 10;
  const isLong = (edge) => column.get(edge.target) - column.get(edge.source) > 1;
  // Arrows that pass other columns go around below the boxes, those from one box together.
  const around = [...new Set(graph.edges.filter(isLong).map((edge) => edge.source))];
  const height = boxes + around.length * BOX.lane + 4, width = order.length * (BOX.width + BOX.gapX) - BOX.gapX + 10;
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Lineage: ${graph.nodes.length} things; the list below says the same in words` });
  const nodes = svg("g"), edges = svg("g");
  order.forEach((key, c) => {
    const stack = stacks.get(key), top = (boxes - stack.length * row + BOX.gapY) / 2;
    stack.forEach((node, index) => {
      const x = 5 + c * (BOX.width + BOX.gapX), y = top + index * row;
      place.set(node.id, { x, y, middle: y + tall / 2 });
      nodes.append(lineageNode(graph, node, x, y, tall));
    });
  });
  for (const edge of graph.edges) {
    const lane = isLong(edge) ? boxes + around.indexOf(edge.source) * BOX.lane : null;
    drawEdge(edges, place.get(edge.source), place.get(edge.target), edge.role, lane);
  }
  picture.append(edges, nodes);
  const region = el("div", { class: "graph", tabindex: 0, role: "region", "aria-label": "Picture of the lineage" }, picture);
  box.replaceChildren(region,
    el("p", { class: "soft" }, left.length ? `${left.length} more are in the list. ` : "", graph.truncated ? "The walk back ended at its bound; there is more. " : "",
      whole ? "" : "This is what was recorded with the version; tfx-registry lineage shows what the store knows beside it."),
    lineageList(graph));
  // The version and what came of it are in sight; where it came from is to the left.
  region.scrollLeft = place.get(graph.root).x + 2 * BOX.width + BOX.gapX + 20 - region.clientWidth;
}

function drawEdge(group, from, to, role, lane) {
  if (!from || !to) return;
  const y1 = from.middle, y2 = to.middle, x1 = from.x + BOX.width, half = BOX.gapX / 2;
  const beside = Math.abs(from.x - to.x) < 1, x2 = beside ? to.x + BOX.width : to.x, end = beside ? x2 + 7 : x2 - 7;
  let d = `M${x1} ${y1}C${x1 + half} ${y1} ${end + (beside ? half : -half)} ${y2} ${end} ${y2}`;
  if (lane !== null) {
    const down = x1 + half, up = x2 - half;
    d = `M${x1} ${y1}C${down} ${y1} ${x1 + 4} ${lane} ${down} ${lane}H${up}C${x2 - 4} ${lane} ${up} ${y2} ${end} ${y2}`;
  }
  const tip = beside ? `M${x2} ${y2}l8 -4v8Z` : `M${x2} ${y2}l-8 -4v8Z`;
  group.append(svg("path", { class: "edge", d }, role && svg("title", null, role)), svg("path", { class: "tip", d: tip }));
}

function lineageList(graph) {
  const names = new Map(graph.nodes.map((node) => [node.id, node.label]));
  return el("details", null, el("summary", null, `The same in words: ${counted(graph.edges.length, "arrow")}`),
    el("div", { class: "wide" }, table(["from", "to", "as"], graph.edges.map((edge) =>
      [theirs(names.get(edge.source) || edge.source), theirs(names.get(edge.target) || edge.target), theirs(edge.role)]))));
}
