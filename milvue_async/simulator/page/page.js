/* Follows the simulator. All it shows is set as text, never as markup. */

const REFRESH_MILLISECONDS = 1000;
const STAGES = ["receiving", "waiting", "running", "done", "empty", "error", "forbidden"];

const byId = (id) => document.getElementById(id);

function setText(element, text) {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < units.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${power ? value.toFixed(1) : value} ${units[power]}`;
}

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) {
    return `${minutes} min ${whole % 60} s`;
  }
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function instances({ instances: known, missing }) {
  return missing ? `${known - missing} of ${known}` : String(known);
}

function timeOfDay(seconds) {
  const twoDigits = (number) => String(number).padStart(2, "0");
  const date = new Date(seconds * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits).join(":");
}

/* What each table shows of an entry, cell by cell: class and text. */
const TABLES = {
  waiting: (entry, index) => [
    ["time", String(index + 1)],
    ["uid", entry.study_instance_uid],
    ["time", duration(entry.seconds)],
  ],
  faults: (fault) => [
    ["text", fault.kind],
    ["text", fault.route],
    ["time", String(fault.strikes)],
    ["time", fault.left === undefined ? "no end" : String(fault.left)],
  ],
  studies: (study) => [
    ["uid", study.study_instance_uid],
    [`stage ${study.stage}`, study.stage],
    ["number", instances(study)],
    ["number", size(study.bytes)],
    ["number", String(study.submissions)],
    ["number", String(study.status_polls)],
    ["number", String(study.deliveries)],
    ["time", timeOfDay(study.first_seen)],
    ["text", Object.entries(study.sent_with).map(([name, value]) => `${name}: ${value}`).join(", ")],
  ],
};

function fill(row, cells, labels) {
  cells.forEach(([kind, text], index) => {
    let cell = row.cells[index];
    if (!cell) {
      cell = document.createElement(kind === "uid" ? "th" : "td");
      if (kind === "uid") {
        cell.scope = "row";
      }
      cell.dataset.label = labels[index];
      cell.append(document.createElement("span"));
      row.append(cell);
    }
    if (cell.className !== kind) {
      cell.className = kind;
    }
    setText(cell.firstChild, text);
  });
}

function showTable(id, entries) {
  const table = byId(id);
  const body = table.tBodies[0];
  const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  entries.forEach((entry, index) => {
    fill(body.rows[index] ?? body.insertRow(), TABLES[id](entry, index), labels);
  });
  while (body.rows.length > entries.length) {
    body.deleteRow(-1);
  }
  table.hidden = entries.length === 0;
  byId(`${id}-empty`).hidden = entries.length > 0;
}

function showCounts(counts) {
  const list = byId("counts");
  STAGES.forEach((stage, index) => {
    let group = list.children[index];
    if (!group) {
      group = document.createElement("div");
      group.append(document.createElement("dt"), document.createElement("dd"));
      group.firstChild.className = stage;
      list.append(group);
    }
    setText(group.firstChild, stage);
    setText(group.lastChild, String(counts[stage] ?? 0));
  });
}

function showSlots({ busy, total }) {
  setText(byId("slots"), total === undefined ? `${busy}, without a limit` : `${busy} of ${total}`);
  const meter = byId("slots-meter");
  meter.hidden = total === undefined;
  meter.max = total ?? 1;
  meter.value = busy;
}

function show(overview) {
  showCounts(overview.counts);
  showSlots(overview.slots);
  showTable("waiting", overview.waiting);
  showTable("faults", overview.faults);
  showTable("studies", overview.studies);
  const waiting = overview.counts.waiting - overview.waiting.length;
  setText(byId("waiting-left-out"), waiting > 0 ? `; ${waiting} more are left out` : "");
  const older = overview.left_out;
  setText(byId("studies-left-out"), older > 0 ? `; ${older} older ones are left out` : "");
}

async function refresh() {
  const connection = byId("connection");
  try {
    const reply = await fetch("/control/overview", { cache: "no-store" });
    const answer = await reply.json();
    if (!reply.ok) {
      throw new Error(answer.message);
    }
    show(answer);
    setText(connection, "Live, refreshed every second");
    connection.classList.remove("lost");
  } catch (error) {
    setText(connection, `Not up to date: ${error.message}`);
    connection.classList.add("lost");
  }
  setTimeout(refresh, REFRESH_MILLISECONDS);
}

refresh();
