"use strict";
/* The table of studies. All that is shown is set as text, never as markup. */

const BATCH = 100; // rows that are added at once
const SVG = "http://www.w3.org/2000/svg";
const MOST_SHOWN = 300; // characters of a cell

const byId = (id) => document.getElementById(id);
const { rows, words, language } = JSON.parse(byId("page").textContent);
const numbers = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const scores = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

const word = (kind) => words[`=${kind}`] ?? kind;
const isKnown = (kind) => Object.hasOwn(words, `=${kind}`);
const number = (value) => (typeof value === "number" ? numbers.format(value) : "");
const score = (value) => (typeof value === "number" ? scores.format(value) : "");
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) {
    made.className = className;
  }
  return made;
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, String(value));
  }
  made.textContent = text;
  return made;
}

/* A label or an outcome, in the page's words and in its colour. */
function tag(kind) {
  return element("span", word(kind), kind ? `tag${isKnown(kind) ? ` is-${kind}` : ""}` : "");
}

/* ---- the table ---- */

const COLUMNS = [
  { key: "study", index: 0 },
  { key: "flag", index: 1 },
  { key: "outcome", index: 3 },
  { key: "findings", index: 4 },
  { key: "instances", index: 5, isNumber: true },
  { key: "megabytes", index: 6, isNumber: true },
  { key: "seconds", index: 7, isNumber: true },
  { key: "error", index: 8 },
];
const places = new Map(rows.map((row, index) => [row[0], index]));
const haystacks = rows.map((row) =>
  plain([row[0], row[1], word(row[1]), row[3], word(row[3]), row[4], row[8]].join(" ")),
);
const state = { order: [...rows.keys()], shown: 0, column: null, descending: false };
const table = byId("studies");
const body = table.tBodies[0];

function makeHead() {
  table.tHead.rows[0].dataset.label = words.sort_by;
  for (const column of COLUMNS) {
    const cell = element("th", "", column.isNumber ? "number" : "");
    cell.scope = "col";
    const button = element("button", words[column.key]);
    button.type = "button";
    button.addEventListener("click", () => sortBy(column));
    cell.append(button);
    table.tHead.rows[0].append(cell);
  }
}

function cellOf(row, { key, index, isNumber }) {
  const cell = element(key === "study" ? "th" : "td", "", isNumber ? "number" : "");
  cell.dataset.label = words[key];
  if (key === "study") {
    const link = element("a", row[index], "uid");
    link.href = `#${row[index]}`;
    cell.scope = "row";
    cell.append(link);
  } else if (key === "flag") {
    cell.append(tag(row[1]));
    if (row[1] && row[2] !== null) {
      cell.append(" ", score(row[2]));
    }
  } else if (key === "outcome") {
    cell.append(tag(row[index]));
  } else {
    const text = isNumber ? number(row[index]) : row[index];
    cell.textContent = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text;
  }
  return cell;
}

function rowOf(row) {
  const made = document.createElement("tr");
  made.append(...COLUMNS.map((column) => cellOf(row, column)));
  made.addEventListener("click", (event) => {
    if (!event.target.closest("a") && getSelection().isCollapsed) {
      made.querySelector("a").click();
    }
  });
  return made;
}

function showMore() {
  const next = state.order.slice(state.shown, state.shown + BATCH);
  body.append(...next.map((index) => rowOf(rows[index])));
  state.shown += next.length;
  byId("more").hidden = state.shown >= state.order.length;
}

function compare(one, other, { index, isNumber }) {
  const [a, b] = [rows[one][index], rows[other][index]];
  if (a === b || (!a && !b && !isNumber)) {
    return 0;
  }
  if (a === null || a === "" || b === null || b === "") {
    return a === null || a === "" ? 1 : -1; // what is not there comes last, either way
  }
  const sign = state.descending ? -1 : 1;
  return sign * (isNumber ? a - b : index === 0 ? (a < b ? -1 : 1) : word(a).localeCompare(word(b), language));
}

function refresh() {
  const wanted = plain(byId("search").value).split(/\s+/).filter(Boolean);
  state.order = [...rows.keys()].filter((index) =>
    wanted.every((part) => haystacks[index].includes(part)),
  );
  if (state.column) {
    state.order.sort((one, other) => compare(one, other, state.column));
  }
  body.replaceChildren();
  state.shown = 0;
  showMore();
  byId("none-found").hidden = state.order.length > 0;
  const counts = { shown: number(state.order.length), total: number(rows.length) };
  byId("shown").textContent = filled(words.shown, counts);
}

/* Numbers begin with the greatest; the third time brings back the order by gravity. */
function sortBy(column) {
  const first = Boolean(column.isNumber);
  if (state.column !== column) {
    state.column = column;
    state.descending = first;
  } else if (state.descending === first) {
    state.descending = !first;
  } else {
    state.column = null;
  }
  [...table.tHead.rows[0].cells].forEach((cell, index) => {
    cell.removeAttribute("aria-sort");
    if (COLUMNS[index] === state.column) {
      cell.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    }
  });
  refresh();
}
