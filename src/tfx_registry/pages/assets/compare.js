// Two versions side by side.

const compared = { a: null, b: null, all: false };

function startCompare() {
  const last = versions.at(-1).number;
  const decision = lastDecision(last);
  compared.b = last;
  compared.a = (decision && decision.baseline) || versions.at(-2)?.number || last;
  drawCompareChoice();
}

function drawCompareChoice() {
  if (versions.length < 2) {
    replace("compare-result", el("p", null, "There is one version, and nothing to compare it with."));
    return;
  }
  const texts = versions.map((version) => `${version.number}: ${stateOf(version)}`).reverse();
  const place = (number) => versions.length - 1 - indexOf.get(number);
  const choose = (side) => (index) => {
    const pair = { ...compared, [side]: versions[versions.length - 1 - index].number };
    location.hash = `#compare=${pair.a},${pair.b}`;
  };
  const [a, listA] = select("From version", texts, place(compared.a), choose("a"));
  const [b, listB] = select("to version", texts, place(compared.b), choose("b"));
  listA.id = "compare-a";
  listB.id = "compare-b";
  const all = el("input", { type: "checkbox", checked: compared.all, onchange: (event) => {
    compared.all = event.target.checked;
    drawComparison();
  } });
  replace("compare-choice", a, b, el("label", { class: "line" }, all, "what is the same, too"));
  drawComparison();
}

function showComparison(a, b) {
  if (!indexOf.has(a) || !indexOf.has(b)) return;
  compared.a = a;
  compared.b = b;
  drawCompareChoice();
  $("compare").scrollIntoView();
}

function factsOf(version) {
  const origin = version.origin || {}, decision = lastDecision(version.number);
  return {
    state: stateOf(version), registered: moment(version.time), by: version.actor,
    gate: decision ? decision.verdict + (decision.baseline ? ` against ${decision.baseline}` : "") : "",
    aliases: (version.aliases || []).join(", "), format: version.facts.format,
    "size in bytes": version.facts.size_bytes.toLocaleString("en"), digest: version.facts.digest,
    tensorflow: version.facts.tensorflow_version, "semantic version": version.semantic_version,
    pipeline: origin.pipeline_name, run: origin.run_id, code: origin.code_revision,
    description: version.description,
  };
}

function sourcesOf(version) {
  const found = {};
  for (const source of version.sources || []) {
    const span = (source.properties || {}).span;
    const text = source.uri + (span ? ` (span ${span})` : "") + (source.digest ? ` ${source.digest.slice(0, 12)}` : "");
    found[source.key] = found[source.key] ? `${found[source.key]}, ${text}` : text;
  }
  return found;
}

function drawComparison() {
  const [a, b] = [compared.a, compared.b].map((number) => versions[indexOf.get(number)]);
  const same = a.facts.digest === b.facts.digest;
  const groups = [
    ["Metrics", metricRows(a.number, b.number)],
    ["Facts", rowsOf(factsOf(a), factsOf(b))],
    ["Signatures", rowsOf(signatures(a), signatures(b))],
    ["Parameters", rowsOf(a.hyperparameters, b.hyperparameters)],
    ["Data it came from", rowsOf(sourcesOf(a), sourcesOf(b))],
    ["Labels", rowsOf(a.labels, b.labels)],
    ["Libraries", rowsOf(libraries(a), libraries(b))],
  ];
  const body = el("tbody");
  for (const [title, rows] of groups) {
    const kept = rows.filter((row) => compared.all || row.changed);
    if (!rows.length) continue;
    body.append(el("tr", null, el("th", { colspan: 4, scope: "colgroup" },
      title + (kept.length ? "" : ": no difference"))));
    body.append(...kept.map((row) => el("tr", { class: row.changed ? "changed" : null },
      el("td", null, theirs(row.name)), el("td", { "data-name": compared.a }, theirs(row.a ?? "–")),
      el("td", { "data-name": compared.b }, theirs(row.b ?? "–")), el("td", { class: "t" }, row.change))));
  }
  replace("compare-result",
    el("p", null, same ? "Their bytes are the same." : "Their bytes are different."),
    el("table", { class: "cards" }, el("thead", null, el("tr", null, ["", `version ${a.number}`, `version ${b.number}`, "change"].map((text) => el("th", { scope: "col" }, text)))), body));
}

function rowsOf(a, b) {
  const [left, right] = [a || {}, b || {}];
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].filter((name) => left[name] || right[name]).map((name) => {
    const changed = (left[name] || "") !== (right[name] || "");
    return { name, a: left[name] || null, b: right[name] || null, changed, change: changed ? "≠ different" : "=" };
  });
}

function metricRows(a, b) {
  const left = numbersOf(a), right = numbersOf(b);
  return [...new Set([...left.keys(), ...right.keys()])].map((key) => {
    const one = left.get(key), two = right.get(key), any = one || two;
    const changed = !one || !two || !Object.is(one.value, two.value);
    const delta = one && two ? two.value - one.value : null;
    const sign = delta > 0 ? "▲ +" : delta < 0 ? "▼ " : "";
    return { name: `${any.metric}, ${any.slice}`, a: one && shown(one.value), b: two && shown(two.value), changed,
      change: delta === null ? "" : changed ? sign + shown(delta) : "=" };
  });
}
