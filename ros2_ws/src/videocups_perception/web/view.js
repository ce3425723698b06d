// Shows what /events says. One event a frame; without events the page says so rather than showing old figures as new.
"use strict";

const SILENT_AFTER_MS = 2000;
const PLOT_POINTS = 240;
const LEVELS = ["ok", "warn", "error", "stale"];
const element = (id) => document.getElementById(id);
const history = { rate: [], latency: [] };
let lastFrame = -1;
let lastFrameAt = 0;
let openDetails = new Set();

function text(tag, content, className) {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}

function plot(canvas, values) {
  const scale = window.devicePixelRatio || 1;
  const width = (canvas.width = canvas.clientWidth * scale);
  const height = (canvas.height = canvas.clientHeight * scale);
  const top = Math.max(...values, 1e-6) * 1.1;
  const pen = canvas.getContext("2d");
  pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  pen.lineWidth = 1.5 * scale;
  pen.beginPath();
  values.forEach((value, index) => {
    const x = (index / (PLOT_POINTS - 1)) * width;
    const y = height - (Math.max(value, 0) / top) * (height - 2 * scale) - scale;
    index ? pen.lineTo(x, y) : pen.moveTo(x, y);
  });
  pen.stroke();
}

function remember(name, value, digits) {
  history[name].push(value);
  if (history[name].length > PLOT_POINTS) history[name].shift();
  element(name).textContent = value.toFixed(digits);
  plot(element(`${name}-plot`), history[name]);
}

function showLatency(ms) {
  element("latency-unit").textContent = ms === null ? "stamps of another clock: use_sim_time" : "ms, now − stamp";
  if (ms === null) element("latency").textContent = "–";
  else remember("latency", ms, 1);
}

function showTracks(tracks) {
  element("track-count").textContent = tracks.length;
  element("track-rows").replaceChildren(
    ...tracks.map((track) => {
      const row = document.createElement("tr");
      const swatch = text("td", "");
      const square = text("span", "", "swatch");
      square.style.background = track.color;
      swatch.append(square);
      row.append(swatch);
      for (const cell of [track.track, track.class, track.score.toFixed(2), track.state, track.age, track.area_px])
        row.append(text("td", cell));
      return row;
    }),
  );
}

function showDiagnostics(rows) {
  const box = element("diagnostic-rows");
  if (!rows.length) return;
  box.className = "";
  box.replaceChildren(
    ...rows.map((row) => {
      const details = document.createElement("details");
      details.open = openDetails.has(row.name);
      details.addEventListener("toggle", () => (details.open ? openDetails.add(row.name) : openDetails.delete(row.name)));
      const summary = text("summary", `${row.name}: `);
      summary.append(text("span", row.message || LEVELS[row.level], LEVELS[row.level]));
      const values = document.createElement("dl");
      for (const [key, value] of Object.entries(row.values)) values.append(text("dt", key), text("dd", value));
      details.append(summary, values);
      return details;
    }),
  );
}

function showStatus() {
  const silent = Date.now() - lastFrameAt;
  const badge = element("status");
  const live = lastFrameAt && silent < SILENT_AFTER_MS;
  badge.className = `badge ${live ? "ok" : lastFrameAt ? "error" : "stale"}`;
  badge.textContent = live ? "live" : lastFrameAt ? `silent for ${Math.round(silent / 1000)} s` : "waiting for the node";
  document.body.classList.toggle("silent", !live);
}

let loading = false;

function showPicture(frame) {
  if (loading) return; // the next event fetches a newer one
  loading = true;
  const next = new Image();
  next.onload = () => {
    element("overlay").src = next.src;
    element("overlay").hidden = false;
    element("no-picture").hidden = true;
    loading = false;
  };
  next.onerror = () => (loading = false);
  next.src = `/overlay.jpg?frame=${frame}`;
}

const events = new EventSource("/events");
events.onmessage = (event) => {
  const state = JSON.parse(event.data);
  showDiagnostics(state.diagnostics || []);
  if (state.frame === undefined || state.frame === lastFrame) return;
  lastFrame = state.frame;
  lastFrameAt = Date.now() - 1000 * (state.sent_s - state.arrived_s); // a page opened late is told the last frame
  element("model").textContent = `${state.model} · ${state.size.join(" × ")} px · frame ${state.frame} · epoch ${state.epoch}`;
  remember("rate", state.rate_hz, 1);
  showLatency(state.latency_ms);
  showTracks(state.tracks);
  showPicture(state.frame);
  showStatus();
};
setInterval(showStatus, 500);
