// The table of versions, which stands in the page already, and everything about one of them.

const PAGE = 50;
const listed = { text: "", state: "", page: 0 };
const tableRows = [...$("version-table").tBodies[0].rows];
const searchText = new Map();

function textOf(row) {
  if (!searchText.has(row)) {
    const version = versions[indexOf.get(Number(row.id.slice(1)))];
    const labels = Object.entries(version.labels || {}).map(([key, value]) => `${key}=${value}`);
    searchText.set(row, [row.textContent, ...labels, version.description || "", version.facts.digest].join(" ").toLowerCase());
  }
  return searchText.get(row);
}

function startVersions() {
  const states = ["every state", ...new Set(versions.map((version) => version.state))];
  const find = el("label", null, "Find", el("input", { type: "search", id: "version-find",
    placeholder: "text, label, digest", oninput: (event) => {
      listed.text = event.target.value.toLowerCase();
      listed.page = 0;
      listVersions();
    } }));
  const [state] = select("State", states, 0, (index) => {
    listed.state = index ? states[index] : "";
    listed.page = 0;
    listVersions();
  });
  replace("version-filter", find, state);
  listVersions();
}

function listVersions() {
  const found = tableRows.filter((row) => {
    const version = versions[indexOf.get(Number(row.id.slice(1)))];
    return (!listed.state || version.state === listed.state) && (!listed.text || textOf(row).includes(listed.text));
  });
  const from = listed.page * PAGE, kept = new Set(found.slice(from, from + PAGE));
  for (const row of tableRows) row.hidden = !kept.has(row);
  const go = (text, page, disabled) => el("button", { type: "button", disabled, onclick: () => {
    listed.page = page;
    listVersions();
  } }, text);
  const many = found.length > PAGE;
  replace("version-pages",
    many && go("← newer", listed.page - 1, from === 0),
    many && go("older →", listed.page + 1, from + PAGE >= found.length),
    el("span", { role: "status" }, found.length ? `${from + 1} to ${from + kept.size} of ${counted(found.length, "version")}` : "no version is like that"));
}

function showVersion(number) {
  const version = versions[indexOf.get(number)], panel = $("detail");
  if (!version) {
    panel.hidden = true;
    return;
  }
  const link = (where, text) => el("a", { href: where }, text);
  const last = lastDecision(number), before = last && last.baseline;
  replace("detail",
    el("button", { type: "button", onclick: () => { location.hash = "#versions"; } }, "close"),
    el("h2", null, `Version ${number}: ${stateOf(version)}`),
    el("p", { class: "pages" },
      live && link(`${live.base}/versions/${number}`, "page of its own"),
      link(`#lineage=${number}`, "lineage"),
      before && link(`#compare=${before},${number}`, `compare with ${before}, its baseline`),
      indexOf.has(number - 1) && before !== number - 1 && link(`#compare=${number - 1},${number}`, `compare with ${number - 1}`)),
    ...decisionBlocks(number), peopleBlock(version), servedBlock(number), factsBlock(version), metricsBlock(number));
  panel.hidden = false;
  panel.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "start" });
}

const runText = (run) => [run.pipeline_name, run.run_id, run.node_id && `(${run.node_id})`].filter(Boolean).join(" ");

function decisionBlocks(number) {
  const found = decisionsOn.get(number) || [];
  if (!found.length) return [el("p", null, "The gate has not decided on it.")];
  return [...found].reverse().map((decision, place) => {
    const blocked = decision.verdict === "blocked";
    const many = found.length > 1 ? `, decision ${found.length - place} of ${found.length}` : "";
    const against = decision.baseline ? ` against version ${decision.baseline}` : ", without a baseline";
    return el("div", { class: "verdict " + (blocked ? "no" : "ok") },
      el("strong", null, blocked ? "✗ Blocked" : "✓ Passed"),
      el("p", null, `${against.trim().replace(/^, /, "")}, for @${decision.alias}`, decision.checks === null ? "" : `; ${counted(decision.checks, "check")}`,
        decision.reasons.length ? `, ${decision.reasons.length} failed` : "", many),
      decision.reasons.length > 0 && el("ul", { class: "reasons" }, decision.reasons.map((reason) => el("li", null, theirs(reason)))),
      decision.notes.map((note) => el("p", { class: "soft" }, theirs(note))),
      el("p", { class: "soft" }, `${moment(decision.time)} by `, theirs(decision.actor), `, event ${decision.event}`,
        decision.why && [": ", theirs(decision.why)], decision.data && ["; on ", theirs(decision.data)],
        runText(decision.run) && ["; in the pipeline run ", theirs(runText(decision.run))]));
  });
}

function peopleBlock(version) {
  const words = (version.approvals || []).map((word) => el("li", null,
    word.approved ? "▲ approved by " : "▼ rejected by ", theirs(word.actor), `, ${moment(word.time)}`, word.reason && [": ", theirs(word.reason)]));
  const overrides = (overridesOf.get(version.number) || []).map((override) => el("div", { class: "verdict override" },
    el("strong", null, "! Gate overridden"),
    el("p", null, override.alias ? `for @${override.alias}, ` : "", `from ${moment(override.time)} to ${moment(override.expires)} by `, theirs(override.actor), ": ", theirs(override.reason))));
  return el("div", null, overrides, words.length > 0 && el("ul", null, words));
}

function servedBlock(number) {
  const found = periodsOf.get(number) || [];
  if (!found.length) return null;
  return el("ul", null, found.map((period) => el("li", null,
    period.trial ? "on trial" : "served", ` as @${period.alias} from ${moment(period.start)} `,
    period.end ? `to ${moment(period.end)}` : "until now", period.ended_by === "rolled_back" ? ", rolled back" : "", " in ", el("code", null, theirs(period.destination)))));
}

const pairs = (object) => Object.entries(object || {}).map(([key, value]) => `${key}=${value}`).join(", ");
const libraries = (version) => {
  const place = (version.origin || {}).libraries;
  return place === undefined ? {} : doc.tables.libraries[place];
};
const tensor = (spec) => spec.dtype + (spec.shape ? `[${spec.shape.map((n) => n ?? "?").join(", ")}]` : "[...]");
function signatures(version) {
  const place = version.facts.signatures, found = {};
  for (const [name, signature] of Object.entries(place === undefined ? {} : doc.tables.signatures[place])) {
    for (const side of ["inputs", "outputs"]) {
      for (const [key, spec] of Object.entries(signature[side] || {})) found[`${name} ${side.slice(0, -1)} ${key}`] = tensor(spec);
    }
  }
  return found;
}

function factsBlock(version) {
  const origin = version.origin || {}, own = version.facts;
  return el("div", null, el("h3", null, "What it is"), facts([
    ["registered", [moment(version.time), " by ", theirs(version.actor)]],
    ["description", version.description && theirs(version.description)],
    ["labels", Object.keys(version.labels || {}).length ? theirs(pairs(version.labels)) : ""],
    ["aliases", (version.aliases || []).map((alias) => "@" + alias).join(", ")],
    ["semantic version", version.semantic_version],
    ["digest", el("code", null, own.digest)],
    ["same bytes as", version.same_bytes_as && `version ${version.same_bytes_as}`],
    ["bytes", [`${own.size_bytes.toLocaleString("en")} in ${counted(own.file_count, "file")}, ${own.format}, from `, el("code", null, theirs(own.uri))]],
    ["pipeline run", origin.run_id || origin.pipeline_name ? theirs(`${origin.pipeline_name || ""} ${origin.run_id || ""}`) : ""],
    ["code", origin.code_revision && el("code", null, theirs(origin.code_revision))],
    ["parameters", pairs(version.hyperparameters) && theirs(pairs(version.hyperparameters))],
    ["libraries", pairs(libraries(version)) && theirs(pairs(libraries(version)))],
    ["signatures", Object.entries(signatures(version)).map(([name, text]) => el("div", null, theirs(`${name}: ${text}`)))],
    ["came from", (version.sources || []).map((source) => el("div", null, theirs(`${source.key}: ${source.type_name} ${source.uri}`)))],
  ]));
}

function numbersOf(version) {
  const found = new Map();
  for (const one of series) {
    const row = one.points.find((cells) => cells[0] === version);
    if (row) found.set(JSON.stringify([one.metric, one.slice]), { metric: one.metric, slice: one.slice, ...point(row) });
  }
  return found;
}

function metricsBlock(number) {
  const found = [...numbersOf(number).values()];
  if (!found.length) return null;
  return el("details", null, el("summary", null, `Metrics: ${counted(found.length, "number")}`),
    el("div", { class: "wide" }, table(["metric", "slice", "value", "interval", "asked", "answer"], found.map((p) =>
      [theirs(p.metric), theirs(p.slice), shown(p.value), intervalText(p), boundsText(p), answerText(p)]))));
}
