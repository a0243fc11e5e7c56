// What the other parts build on: the document, elements made without markup, numbers and times.

const $ = (id) => document.getElementById(id);
const doc = JSON.parse($("data").textContent);
const live = JSON.parse($("address").textContent);

// Characters that steer the display are written out, so that no stored text can.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu;
const visible = (text) =>
  text.replace(UNSEEN, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : visible(String(value)));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : visible(String(child)));
  }
  return node;
}
const el = (name, attributes, ...children) =>
  fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// Text of somebody else, which may run from right to left.
const theirs = (text) => el("bdi", null, text);
const cut = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

// Numbers that JSON cannot hold are written as text: "NaN", "Infinity".
const number = (value) => (value === null || value === undefined ? null : Number(value));
function shown(value) {
  if (value === null || value === undefined) return "";
  const x = Number(value);
  return Number.isFinite(x) ? String(parseFloat(x.toPrecision(6))) : String(x);
}
const moment = (text) => (text ? text.slice(0, 16).replace("T", " ") + " UTC" : "");
const counted = (count, word) => count.toLocaleString("en") + " " + word + (count === 1 ? "" : "s");

function grouped(list, key) {
  const groups = new Map();
  for (const item of list) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

const versions = doc.versions;
const indexOf = new Map(versions.map((version, index) => [version.number, index]));
const decisionsOn = grouped(doc.decisions, (decision) => decision.number);
const overridesOf = grouped(doc.overrides, (override) => override.number);
const periodsOf = grouped(doc.periods, (period) => period.number);
const servingNow = new Set(doc.serving.map((found) => found.number));
const lastDecision = (number) => (decisionsOn.get(number) || []).at(-1);
const rolledBack = (number) =>
  (periodsOf.get(number) || []).some((period) => period.ended_by === "rolled_back");

function stateOf(version) {
  const words = [version.state];
  if (rolledBack(version.number) && !(version.serving || []).length) words.push("rolled back");
  if (overridesOf.has(version.number)) words.push("overridden");
  if (version.bytes_gone) words.push("bytes gone");
  return words.join(", ");
}

function select(label, options, chosen, onchange) {
  const list = el("select", { onchange: () => onchange(list.selectedIndex) });
  list.append(
    ...options.map((text, index) => el("option", { selected: index === chosen }, cut(text, 120)))
  );
  return [el("label", null, label, list), list];
}

function table(header, rows, attributes) {
  const cell = (content, index) => {
    const name = header[index];
    const kind = name === "when" ? "t" : name === "" || name === "why" ? "full" : null;
    return el("td", { "data-name": name || null, class: kind }, content);
  };
  return el("table", { class: "cards", ...attributes },
    el("thead", null, el("tr", null, header.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", null, rows.map((cells) => el("tr", null, cells.map(cell)))));
}

function facts(pairs) {
  const list = el("dl");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "" || value.length === 0) continue;
    list.append(el("dt", null, name), el("dd", null, value));
  }
  return list;
}

const replace = (id, ...children) => $(id).replaceChildren(...children.flat().filter(Boolean));

function download(name, value) {
  const blob = new Blob([JSON.stringify(value, null, 1)], { type: "application/json" });
  const link = el("a", { download: name });
  link.href = URL.createObjectURL(blob);
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
