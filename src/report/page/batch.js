"use strict";

// A table of many pairs. Text goes in as text, never as HTML: names and messages come from files.

const { rows, version } = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
// Rows drawn at a time: a browser is slow with a hundred thousand of them.
const STEP = 200;

const KINDS = [
  ["wrong", "accepted, but wrong"],
  ["failed", "failed"],
  ["rejected", "rejected"],
  ["accepted", "accepted"],
];
const PILLS = { wrong: "accepted, wrong", failed: "failed", rejected: "rejected", accepted: "accepted" };

function kindOf(row) {
  return row.status === "accepted" && row.correct === false ? "wrong" : row.status;
}

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const fixed = (digits, factor = 1) => (number) => (number === null ? "" : (factor * number).toFixed(digits));
const significant = (number) => (number === null ? "" : String(Number(number.toPrecision(3))));

const rightness = (correct) => (correct === null ? "" : correct ? "yes" : "no");

const COLUMNS = [
  { title: "status", value: (row) => PILLS[kindOf(row)], make: (row) => element("span", PILLS[kindOf(row)], `pill ${kindOf(row)}`) },
  { title: "name", value: (row) => row.name, className: "name" },
  { title: "set", value: (row) => row.set, className: "name" },
  { title: "confidence", value: (row) => row.confidence, show: fixed(3) },
  { title: "overlap %", value: (row) => row.overlap, show: fixed(1, 100) },
  { title: "inliers", value: (row) => row.inliers, show: fixed(0) },
  { title: "rms", value: (row) => row.inlier_rmse, show: significant },
  { title: "right", value: (row) => rightness(row.correct) },
  { title: "error °", value: (row) => row.rotation_error, show: significant },
  { title: "error shift", value: (row) => row.translation_error, show: significant },
  { title: "seconds", value: (row) => row.seconds, show: fixed(2) },
  { title: "why", value: (row) => row.reason, className: "why" },
  { title: "warnings", value: (row) => row.warnings, className: "why" },
].filter((column) => rows.length === 0 || rows.some((row) => ![null, ""].includes(column.value(row))));

const state = { kind: "all", search: "", column: null, descending: false, shown: STEP };

function selected() {
  const text = state.search.toLowerCase();
  const found = rows.filter((row) =>
    (state.kind === "all" || kindOf(row) === state.kind) &&
    [row.name, row.set, row.reason].some((part) => part.toLowerCase().includes(text)));
  if (state.column) found.sort((a, b) => compare(state.column.value(a), state.column.value(b)));
  return found;
}

// What is unknown comes last in either direction.
function compare(a, b) {
  const unknown = (value) => value === null || value === "";
  if (unknown(a) || unknown(b)) return unknown(a) - unknown(b);
  const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
  return state.descending ? -order : order;
}

function cell(column, row) {
  const made = element("td", null, column.show ? "number" : column.className);
  if (column.make) made.append(column.make(row));
  else made.textContent = column.show ? column.show(column.value(row)) : column.value(row);
  return made;
}

function showRows() {
  const found = selected();
  const lines = found.slice(0, state.shown).map((row) => {
    const line = element("tr");
    line.append(...COLUMNS.map((column) => cell(column, row)));
    return line;
  });
  byId("rows").tBodies[0].replaceChildren(...lines);
  byId("found").textContent = `${found.length} of ${rows.length} pairs`;
  const rest = found.length - lines.length;
  byId("more").hidden = rest === 0;
  byId("more").textContent = `Show ${Math.min(STEP, rest)} more of ${rest}`;
}

function update(change) {
  Object.assign(state, { shown: STEP }, change);
  showRows();
}

function showHead() {
  const line = element("tr");
  for (const column of COLUMNS) {
    const head = element("th", null, column.show ? "number" : "");
    const button = element("button", column.title);
    button.type = "button";
    button.addEventListener("click", () => {
      const again = state.column === column;
      update({ column, descending: again && !state.descending });
      for (const other of line.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    });
    head.append(button);
    line.append(head);
  }
  byId("rows").tHead.append(line);
}

function countOf(some, kind) {
  return some.filter((row) => kindOf(row) === kind).length;
}

// Of the rows whose right answer is known; null if there is none.
function shareOfRight(some) {
  const known = some.filter((row) => row.correct !== null);
  return known.length ? known.filter((row) => row.correct).length / known.length : null;
}

const percent = (share) => (share === null ? "" : `${(100 * share).toFixed(1)} %`);

function median(numbers) {
  const sorted = numbers.filter((x) => x !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

function showSummary() {
  const tile = (value, name, className) => {
    const made = element("div", null, className);
    made.append(element("b", value), element("span", name));
    byId("tiles").append(made);
  };
  tile(rows.length, "pairs");
  for (const [kind, name] of KINDS) {
    const number = countOf(rows, kind);
    if (kind !== "wrong" || number) tile(number, name, number ? kind : "");
    const share = element("i", null, kind);
    share.style.flexGrow = number;
    share.title = `${number} ${name}`;
    if (number) byId("shares").append(share);
  }
  const right = shareOfRight(rows);
  if (right !== null) tile(percent(right), "of known answers right");
  const seconds = median(rows.map((row) => row.seconds));
  if (seconds !== null) tile(`${seconds.toFixed(2)} s`, "median time of a pair");
}

function showSets() {
  const sets = [...new Set(rows.map((row) => row.set))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (sets.length < 2) return;
  const kinds = KINDS.filter(([kind]) => kind !== "wrong" || countOf(rows, kind));
  const line = (tag, cells) => {
    const made = element("tr");
    cells.forEach((text, i) => made.append(element(tag, text, i ? "number" : "name")));
    return made;
  };
  const rightHead = shareOfRight(rows) === null ? [] : ["right"];
  const head = element("thead");
  head.append(line("th", ["set", "pairs", ...kinds.map(([, name]) => name), ...rightHead, "median s"]));
  const body = element("tbody");
  for (const set of sets) {
    const some = rows.filter((row) => row.set === set);
    const seconds = median(some.map((row) => row.seconds));
    body.append(line("td", [set || "(none)", some.length, ...kinds.map(([kind]) => countOf(some, kind)), ...rightHead.map(() => percent(shareOfRight(some))), fixed(2)(seconds)]));
  }
  byId("sets").append(head, body);
  byId("sets-card").hidden = false;
}

function showFilters() {
  const kinds = [["all", "all"], ...KINDS.filter(([kind]) => countOf(rows, kind))];
  const buttons = kinds.map(([kind, name]) => {
    const button = element("button", name);
    button.type = "button";
    button.value = kind;
    button.setAttribute("aria-pressed", String(kind === state.kind));
    button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      update({ kind });
    });
    return button;
  });
  byId("kinds").append(...buttons);
  byId("search").addEventListener("input", (event) => update({ search: event.target.value }));
  byId("more").addEventListener("click", () => update({ shown: state.shown + STEP }));
}

showSummary();
showSets();
showFilters();
showHead();
showRows();
byId("footer").textContent = `coregister ${version}`;
