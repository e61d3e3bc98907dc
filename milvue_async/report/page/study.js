/* The view of one study; goes on from table.js, in the same script. */

function tableOf(headings, lines) {
  const made = element("table", "", "facts");
  const head = made.createTHead().insertRow();
  for (const heading of headings) {
    const cell = element("th", heading);
    cell.scope = "col";
    head.append(cell);
  }
  const lineBody = made.createTBody();
  for (const line of lines) {
    const row = lineBody.insertRow();
    line.forEach((value) => {
      const cell = row.insertCell();
      cell.append(value);
    });
  }
  return made;
}

const findingsOf = (findings) =>
  tableOf(
    [words.finding, words.label, words.score],
    findings.map(([name, label, value]) => [name, tag(label), score(value)]),
  );

const measuresOf = (measures) =>
  tableOf(
    [words.measure, words.value],
    measures.map((measure) => [measure[0], valueOf(measure)]),
  );

function valueOf([, value, unit]) {
  return `${number(value)}${unit === "°" ? "" : " "}${unit}`;
}

const letterSize = (image) => Math.max(image.columns, image.rows) / 30;

function caption(text, x, y, image, kind) {
  return drawn("text", { x, y, "font-size": letterSize(image), class: `caption ${kind}` }, text);
}

/* Moves captions into their picture, and below those that are there already. */
function settle(marks) {
  const { width: columns, height: rowCount } = marks.viewBox.baseVal;
  const settled = [];
  for (const text of marks.querySelectorAll("text")) {
    const size = Number(text.getAttribute("font-size"));
    const length = Math.min(text.getComputedTextLength(), columns);
    const x = Math.max(0, Math.min(Number(text.getAttribute("x")), columns - length));
    let y = Math.max(size, Math.min(Number(text.getAttribute("y")), rowCount - size / 3));
    const covers = (other) =>
      Math.abs(other.y - y) < size && other.x < x + length && x < other.x + other.length;
    while (settled.some(covers) && y + size < rowCount) {
      y += size / 2;
    }
    settled.push({ x, y, length });
    text.setAttribute("x", String(x));
    text.setAttribute("y", String(y));
    if (text.getComputedTextLength() > columns) {
      text.setAttribute("textLength", String(columns));
      text.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
  }
}

function boxOf([name, label, value, left, top, right, bottom], image) {
  const kind = isKnown(label) ? `is-${label}` : "";
  const [x, y] = [Math.min(left, right), Math.min(top, bottom)];
  // Corners are pixels: the last one belongs to the box.
  const box = { x, y, width: Math.abs(right - left) + 1, height: Math.abs(bottom - top) + 1 };
  return [
    drawn("rect", { ...box, class: "halo" }),
    drawn("rect", { ...box, class: `mark ${kind}` }),
    caption(`${name} ${score(value)}`.trim(), x, y - letterSize(image) / 3, image, kind),
  ];
}

function measureOf(measure, image) {
  const lines = measure[3].map(([x1, y1, x2, y2]) => ({ x1, y1, x2, y2 }));
  if (!lines.length) {
    return [];
  }
  const { x1, x2, y1, y2 } = lines[0];
  return [
    ...lines.map((line) => drawn("line", { ...line, class: "halo" })),
    ...lines.map((line) => drawn("line", { ...line, class: "mark measure" })),
    caption(`${measure[0]} ${valueOf(measure)}`, (x1 + x2) / 2, (y1 + y2) / 2, image, "measure"),
  ];
}

function pictureOf(image, title) {
  const picture = element("div", "", "picture");
  const shown = document.createElement("img");
  const scale = 512 / Math.max(image.columns, image.rows, 1);
  shown.loading = "lazy";
  shown.decoding = "async";
  shown.width = Math.max(1, Math.round(image.columns * Math.min(1, scale)));
  shown.height = Math.max(1, Math.round(image.rows * Math.min(1, scale)));
  shown.alt = title;
  shown.src = image.picture;
  picture.append(shown);
  if (image.kind === "source") {
    const marks = drawn("svg", {
      viewBox: `0 0 ${image.columns} ${image.rows}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    marks.append(...(image.boxes ?? []).flatMap((box) => boxOf(box, image)));
    marks.append(...(image.measures ?? []).flatMap((measure) => measureOf(measure, image)));
    picture.append(marks);
  }
  return picture;
}

function imageOf(image, index) {
  const title = filled(words.image, { number: String(index + 1) });
  const made = element("article", "", "image");
  made.append(element("h3", title));
  if (image.picture) {
    made.append(pictureOf(image, title));
  }
  const note = image.picture ? image.kind === "overlay" && words.burned_in : words.no_picture;
  if (note) {
    made.append(element("p", note, "quiet"));
  }
  if (image.parts?.length) {
    const parts = image.parts.map(([name, value]) => `${name} ${score(value)}`).join(", ");
    made.append(element("p", `${words.body_parts}: ${parts}`));
  }
  if (image.findings?.length) {
    made.append(findingsOf(image.findings));
  }
  if (image.measures?.length) {
    made.append(measuresOf(image.measures));
  }
  made.append(element("p", image.uid, "uid quiet"));
  return made;
}

function courseOf(study) {
  const made = element("dl", "", "course");
  const add = (name, ...values) => {
    const group = document.createElement("div");
    const value = element("dd");
    value.append(...values);
    group.append(element("dt", name), value);
    made.append(group);
  };
  if (study.flag) {
    add(words.flag, tag(study.flag[0]), " ", score(study.flag[1]));
  }
  add(words.outcome, tag(study.outcome));
  study.results.forEach(([command, outcome]) => add(command, tag(outcome)));
  ["upload", "predict", "collect"].forEach((stage, index) => {
    if (study.times[index]) {
      add(words[stage], `${number(study.times[index])} s`);
    }
  });
  if (study.attempts > 1) {
    add(words.attempts, number(study.attempts));
  }
  return made;
}

function reportOf(report) {
  const made = element("section", "", "report");
  made.append(element("h3", words.report), element("p", report.title, "report-title"));
  report.techniques.forEach((line) => made.append(element("p", line)));
  for (const [region, lines] of report.results) {
    const list = document.createElement("ul");
    list.append(...lines.map((line) => element("li", line)));
    made.append(element("h4", region), list);
  }
  return made;
}

function contentOf(study) {
  const parts = [courseOf(study)];
  const warnings = study.unreadable.map((file) => filled(words.unreadable, { file }));
  if (study.incomplete) {
    warnings.push(words.not_rendered);
  }
  parts.push(...[study.error, ...warnings].filter(Boolean).map((text) => element("p", text, "error")));
  const summary = element("div", "", "summary");
  if (study.findings?.length) {
    const findings = element("section");
    findings.append(element("h3", words.findings), findingsOf(study.findings));
    summary.append(findings);
  }
  if (study.report) {
    summary.append(reportOf(study.report));
  }
  const images = element("div", "", "images");
  images.append(...study.images.map(imageOf));
  parts.push(images, summary);
  if (!study.images.length && !summary.childElementCount) {
    parts.push(element("p", words.nothing_found));
  }
  if (study.left_out) {
    parts.push(element("p", filled(words.left_out, { count: number(study.left_out) }), "quiet"));
  }
  return parts;
}

/* ---- opening and closing ---- */

const dialog = byId("study");
const opened = () => location.hash.slice(1);

function neighbour(step) {
  const place = state.order.indexOf(places.get(opened()));
  const next = state.order[place + step];
  return place < 0 || next === undefined ? null : rows[next][0];
}

function go(step) {
  const uid = neighbour(step);
  if (uid !== null) {
    location.hash = uid;
  }
}

function follow() {
  const uid = opened();
  if (!uid) {
    dialog.close();
    return;
  }
  const data = places.has(uid) ? byId(`study-${uid}`) : null;
  const content = data
    ? contentOf(JSON.parse(data.textContent))
    : [element("p", filled(words.unknown_study, { uid }), "error")];
  byId("study-title").textContent = `${words.study} ${uid}`;
  byId("study-body").replaceChildren(...content);
  byId("previous").disabled = neighbour(-1) === null;
  byId("next").disabled = neighbour(1) === null;
  byId("marks-label").hidden = !dialog.querySelector(".picture svg");
  if (!dialog.open) {
    dialog.showModal();
  }
  dialog.querySelectorAll(".picture svg").forEach(settle);
  dialog.scrollTop = 0;
  byId("study-title").focus();
}

function forget() {
  const uid = opened();
  history.replaceState(null, "", location.href.split("#")[0]);
  [...body.querySelectorAll("a")].find((link) => link.textContent === uid)?.focus();
}

makeHead();
refresh();
byId("search").addEventListener("input", refresh);
byId("more").addEventListener("click", () => {
  const first = state.shown;
  showMore();
  body.rows[first].querySelector("a").focus();
});
new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && !byId("more").hidden) {
    showMore();
  }
}, { rootMargin: "600px" }).observe(byId("more"));
byId("close").addEventListener("click", () => dialog.close());
byId("previous").addEventListener("click", () => go(-1));
byId("next").addEventListener("click", () => go(1));
byId("marks").addEventListener("change", (event) => {
  dialog.classList.toggle("without-marks", !event.target.checked);
});
dialog.addEventListener("close", () => {
  byId("study-body").replaceChildren();
  if (location.hash) {
    forget();
  }
});
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    go(step);
  }
});
addEventListener("hashchange", follow);
follow();
