// Who did what, when and why, with filters.

const STEP = 100;
const asked = { text: "", kind: "", actor: "", number: "", from: "", until: "" };
let historyShown = STEP;
const rowsOfHistory = doc.history.rows.map((cells) =>
  Object.fromEntries(doc.history.columns.map((name, place) => [name, cells[place]])));

function startHistory() {
  const kinds = ["everything", ...[...new Set(rowsOfHistory.map((row) => row.kind))].sort()];
  const actors = ["everybody", ...[...new Set(rowsOfHistory.map((row) => row.actor))].sort()];
  const change = (name, value) => {
    asked[name] = value;
    historyShown = STEP;
    listHistory();
  };
  const input = (label, name, type) => el("label", null, label, el("input", { type, id: "history-" + name,
    min: type === "number" ? 1 : null, size: 8, oninput: (event) => change(name, event.target.value),
    onchange: (event) => change(name, event.target.value) }));
  const [kind, kindList] = select("What", kinds.map((text) => text.replaceAll("_", " ")), 0, (index) => change("kind", index ? kinds[index] : ""));
  const [actor, actorList] = select("Who", actors, 0, (index) => change("actor", index ? actors[index] : ""));
  kindList.id = "history-kind";
  actorList.id = "history-actor";
  replace("history-filter", input("Find", "text", "search"), kind, actor, input("Version", "number", "number"),
    input("From (UTC)", "from", "date"), input("Until", "until", "date"));
  listHistory();
}

function filteredHistory() {
  const needle = asked.text.toLowerCase();
  return rowsOfHistory.filter((row) =>
    (!asked.kind || row.kind === asked.kind) && (!asked.actor || row.actor === asked.actor) &&
    (!asked.number || row.number === Number(asked.number)) &&
    (!asked.from || row.time.slice(0, 10) >= asked.from) && (!asked.until || row.time.slice(0, 10) <= asked.until) &&
    (!needle || `${row.what} ${row.reason} ${row.actor}`.toLowerCase().includes(needle))).reverse();
}

function listHistory() {
  const found = filteredHistory();
  replace("history-result",
    el("p", { role: "status" }, found.length ? `${counted(found.length, "event")}, the newest first` : "no event is like that"),
    found.length > 0 && table(["event", "when", "who", "what", "", "why"], found.slice(0, historyShown).map((row) => [
      row.event, moment(row.time), theirs(row.actor), row.kind.replaceAll("_", " "),
      row.number !== null && indexOf.has(row.number) ? el("a", { href: "#version=" + row.number }, theirs(row.what)) : theirs(row.what),
      theirs(row.reason)])),
    found.length > historyShown && el("button", { type: "button", onclick: () => {
      historyShown += STEP;
      listHistory();
    } }, `show ${Math.min(STEP, found.length - historyShown)} more`));
}
