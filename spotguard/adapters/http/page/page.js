"use strict";
// Shows what /events tells. Text goes into the page as text only; nothing is decided here: the headline comes from the daemon.

const ROWS = 20;
const SAMPLES = 120;
const SILENCE_MS = 8000;
const RETRY_MS = 2000;

const byId = (id) => document.getElementById(id);
const speeds = [];
let status = null;
let offset = 0; // the daemon's clock minus this browser's, in milliseconds
let heard = Date.now();

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let value = bytes, unit = 0;
  while (unit < units.length - 1 && Math.abs(value) >= 999.95) { value /= 1000; unit += 1; }
  return `${value.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

function span(seconds) {
  if (Math.abs(seconds) < 9.95) return `${Number(seconds.toFixed(1))} s`;
  const whole = Math.round(seconds);
  const [large, unit, small, smaller] = whole < 60 ? [1, "s", 1, ""] : whole < 3600 ? [60, "min", 1, "s"]
    : whole < 86400 ? [3600, "h", 60, "min"] : [86400, "d", 3600, "h"];
  const rest = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`;
}

const now = () => Date.now() + offset;
const ago = (time) => (time ? `${span(Math.max(0, (now() - Date.parse(time)) / 1000))} ago` : "–");

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function set(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text; // a screen reader is told of changes only
}

function showHeadline(line) {
  byId("banner").dataset.level = line.level;
  set("word", line.word);
  set("sentence", line.sentence);
  document.title = `${line.word} · spotguard`;
}

function showRisk() {
  const e = status.exposure;
  const saved = status.checkpoints.filter((c) => c.state === "committed" && c.saved_at).map((c) => Date.parse(c.saved_at));
  const since = saved.length ? Math.max(0, (now() - Math.max(...saved)) / 1000) : e.seconds_since_last_commit;
  set("risk", since === null ? "no commit yet" : `${span(since)} of training`);
  const more = [];
  if (e.steps_at_risk_estimate !== null) more.push(`about ${Math.round(e.steps_at_risk_estimate)} steps`);
  if (e.save_seconds_estimate !== null) more.push(`a save takes ${span(e.save_seconds_estimate)}`);
  if (e.flush_seconds_estimate !== null) more.push(`sending one takes ${span(e.flush_seconds_estimate)}`);
  set("risk-more", more.join(", "));
  const needed = e.flush_seconds_estimate === null ? null : e.flush_seconds_estimate + (e.save_seconds_estimate || 0);
  byId("fit").hidden = needed === null;
  if (needed !== null) {
    set("fit-label", `${span(needed)} of the 120 s of a notice`);
    const meter = byId("fit-meter");
    meter.max = 120;
    meter.value = Math.min(120, needed);
  }
}

function showUpload() {
  set("upload", `${size(status.upload.bytes_per_second)}/s`);
  const backlog = status.backlog;
  const eta = backlog.eta_seconds ? `, about ${span(backlog.eta_seconds)}` : "";
  const waiting = backlog.checkpoints ? `${size(backlog.bytes)} to send${eta}` : "nothing to send";
  set("upload-more", `${waiting}; ${size(status.upload.bytes_total)} in all, ${status.upload.retries_total} requests tried again`);
  speeds.push(status.upload.bytes_per_second);
  if (speeds.length > SAMPLES) speeds.shift();
  const top = Math.max(1, ...speeds);
  const points = speeds.map((v, i) => `${((i + SAMPLES - speeds.length) * 240) / (SAMPLES - 1)},${38 - (36 * v) / top}`);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  byId("spark").replaceChildren(line);
}

function row(checkpoint) {
  const made = element("tr");
  made.append(element("td", checkpoint.name));
  const why = checkpoint.why && checkpoint.state !== "committed" ? ` (${checkpoint.why})` : "";
  made.append(element("td", checkpoint.state + why));
  const sent = element("td");
  const share = checkpoint.bytes ? checkpoint.uploaded_bytes / checkpoint.bytes : 0;
  const bar = element("progress");
  bar.max = 1;
  bar.value = Math.min(1, share);
  bar.setAttribute("aria-label", `${checkpoint.name}: ${Math.floor(100 * Math.min(1, share))} % sent`);
  sent.append(bar);
  made.append(sent, element("td", size(checkpoint.bytes), "number"), element("td", ago(checkpoint.saved_at)));
  return made;
}

function showCheckpoints() {
  const time = (c) => (c.saved_at ? Date.parse(c.saved_at) : Infinity);
  const newest = [...status.checkpoints].sort((a, b) => time(b) - time(a) || (b.step || 0) - (a.step || 0));
  byId("checkpoints").replaceChildren(...newest.slice(0, ROWS).map(row));
  set("more", newest.length > ROWS ? `and ${newest.length - ROWS} older` : newest.length ? "" : "none seen yet");
}

function showProblems() {
  byId("problems").hidden = !status.problems.length;
  byId("problem-list").replaceChildren(...status.problems.map((problem) => {
    const item = element("li", undefined, problem.severity);
    item.append(element("strong", `${problem.severity}: ${problem.code}`), `${problem.message} (${ago(problem.since)})`);
    if (problem.fix) item.append(element("span", `What to do: ${problem.fix}`, "fix"));
    return item;
  }));
}

function showNotice() {
  const notice = status.interruption;
  byId("notice").hidden = !notice;
  if (!notice) return;
  const drill = notice.drill ? " (a drill)" : "";
  const verdict = notice.verdict ? `, verdict: ${notice.verdict}` : "";
  const last = notice.last_committed ? `; last commit ${notice.last_committed}` : "";
  set("notice-line", `${notice.kind}${drill}, seen ${ago(notice.detected_at)}${verdict}${last}`);
  byId("given-up").replaceChildren(...notice.given_up.map((g) => element("li", `given up: ${g.name}: ${g.why}`)));
}

function showEdges() {
  const reach = (edge) => (edge.reachable === null ? "not asked yet" : edge.reachable ? "reachable" : `not reachable: ${edge.error || ""}`);
  const trainer = status.trainer;
  const signalled = trainer.signalled_at ? `, signalled ${ago(trainer.signalled_at)}` : "";
  const facts = [
    ["trainer", trainer.found ? `process ${trainer.pids.join(", ")}${signalled}` : "no process known"],
    ["store", reach(status.store)],
    ["metadata service", status.imds.mode === "off" ? "off" : reach(status.imds)],
    ["instance", Object.values(status.instance).filter(Boolean).join(", ") || "not known"],
    ["watched", status.watch_dir],
    ["daemon", `${status.state} since ${ago(status.since)}`],
  ];
  byId("edges").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function showCountdown() {
  const notice = status && status.interruption;
  const running = Boolean(notice && notice.deadline && !notice.verdict);
  byId("countdown").hidden = !running;
  if (!running) return;
  const left = Math.max(0, Math.ceil((Date.parse(notice.deadline) - now()) / 1000));
  set("countdown", `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`);
}

function show(told) {
  status = told;
  set("run", `${status.run}`);
  set("version", status.version);
  showRisk();
  showUpload();
  showCheckpoints();
  showProblems();
  showNotice();
  showEdges();
  showCountdown();
}

function listen() {
  const events = new EventSource("/events");
  const hear = (take) => (event) => { heard = Date.now(); take(JSON.parse(event.data)); };
  events.addEventListener("status", hear(show));
  events.addEventListener("headline", hear(showHeadline));
  events.onerror = () => {
    // a broken connection is opened again by the browser; an answer that is no stream is not
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
  events.addEventListener("clock", hear((told) => { offset = Date.parse(told.now) - Date.now(); }));
}

setInterval(() => {
  showCountdown();
  if (Date.now() - heard > SILENCE_MS) {
    showHeadline({ level: "bad", word: "NO ANSWER", sentence: `the daemon has said nothing for ${span((Date.now() - heard) / 1000)}; below is what it said last` });
  }
}, 500);
listen();
