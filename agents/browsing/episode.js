// One episode: replay, pictures and plots on one clock, its labels, its quality, and what it was made with.

import { ask, el, floats, number, outcome, verdict } from "./ask.js";
import { labels } from "./labels.js";
import { link, withoutEmpty } from "./list.js";
import { pictures } from "./pictures.js";
import { chosen, plots } from "./plots.js";
import { Clock, timeline } from "./timeline.js";

let robot; // the player, made once: its meshes stay on the graphics card

export async function showEpisode(store, which, query, kept) {
  const { plots: wanted, ...filters } = query;
  const details = await ask("episode", { ...filters, number: which });
  const rows = rowsOf(details), clock = new Clock(rows.time(0), rows.time(details.rows - 1));
  const chips = el("span", { class: "chips" }), bar = timeline(clock, rows);
  const events = () => [...details.events, ...(details.labels.event.value || [])].map(one => rows.time(one.row));
  const steps = el("span", { class: "steps" }, neighbours(details.list, query));
  const drawing = plots(store, which, clock, events, chosen(store, query), names => {
    query.plots = names.join(",");
    history.replaceState(null, "", link(which, withoutEmpty(query)));
    steps.replaceChildren(...neighbours(details.list, query));
  });
  const cameras = pictures(store.pictures, which, clock, rows);
  const refresh = () => {
    chips.replaceChildren(outcome(details.labels.success.value), details.labels.failure.value ? el("span", { class: "chip" }, details.labels.failure.value) : "",
      verdict(details.labels.quality.value?.verdict), details.labels.dropped.value ? el("span", { class: "chip bad" }, "dropped") : "",
      ...(details.labels.tags.value || []).map(text => el("span", { class: "chip" }, text)));
    bar.show(details, { phases: details.labels.phase.value || [], events: details.labels.event.value || [] });
  };
  const saying = labels(store, details, clock, rows, now => { Object.assign(details, now); refresh(); drawing.redraw(); });
  const stage = el("div", { class: "place" }), judged = el("section", {}, el("h2", {}, "Quality"), el("p", { class: "intro" }, "Measuring …"));
  refresh();

  const made = details.metadata;
  const parts = [
    el("header", { class: "top" },
      el("p", { class: "eyebrow" }, el("a", { href: link(null, withoutEmpty(filters)) }, `${store.name}, all episodes`), steps),
      el("h1", {}, `Episode ${which}`),
      el("p", { class: "lead" }, details.labels.instruction.value || store.instruction),
      el("p", { class: "facts" }, chips, ` ${details.task} · seed ${made.seed} · policy ${made.policy.name ?? made.policy} · ${number(clock.end - clock.start)} s, ${details.rows.toLocaleString("en")} rows`)),
    el("div", { class: "desk" },
      el("div", {}, el("div", { class: cameras.part && !store.no_replay ? "scene" : "scene single" }, stage, cameras.part), bar.part, drawing.part),
      el("div", { class: "side" }, saying.part, judged)),
    provenance(made, details),
  ];
  return {
    name: `episode ${which}`, parts, unsaved: saying.unsaved,
    begin: () => {
      document.title = `${store.name} · episode ${which}`;
      cameras.begin?.();
      clock.set(clock.start);
      replay(store, which, clock, kept, stage);
      ask("quality", { number: which }).then(found => quality(judged, found), problem => { judged.lastChild.textContent = problem.message; });
    },
    leave: () => { clock.run(false); clock.followers.length = 0; drawing.leave(); cameras.leave(); kept.append(document.getElementById("stage")); },
  };
}

// When a row was: exactly for as many rows as the server sends times of, evenly spread for longer episodes.
function rowsOf(details) {
  const times = floats(details.times), last = details.rows - 1;
  if (!times.length) {
    return { time: row => details.start + Math.min(row, last) * details.period, at: time => Math.min(Math.max(Math.round((time - details.start) / (details.period || 1)), 0), last) };
  }
  return {
    time: row => times[Math.min(Math.max(row, 0), last)],
    at: time => {
      let a = 0, b = last;
      while (a < b) { const m = (a + b + 1) >> 1; if (times[m] <= time + 1e-4) a = m; else b = m - 1; }
      return a;
    },
  };
}

function neighbours(list, query) {
  const to = (number, text) => number === null ? el("span", { class: "muted" }, text) : el("a", { href: link(number, withoutEmpty(query)) }, text);
  const place = list.place === null ? "" : `${(list.place + 1).toLocaleString("en")} of ${list.found.toLocaleString("en")}`;
  return [to(list.before, "← Previous"), el("span", { class: "muted" }, place), to(list.after, "Next →")];
}

async function replay(store, which, clock, kept, place) {
  const stage = document.getElementById("stage");
  if (store.no_replay) { place.replaceChildren(el("p", { class: "panel nothing" }, `No replay: ${store.no_replay}.`)); return; }
  place.replaceChildren(stage);
  stage.classList.add("waiting");
  delete stage.dataset.shown;
  try {
    const [figure, motion] = await Promise.all([robot === undefined ? ask("figure") : null, ask("motion", { number: which })]);
    if (!stage.isConnected || stage.parentElement !== place) return;
    robot ??= window.player(stage, figure);
    if (!robot) { stage.querySelector(".fallback").textContent = "The replay needs WebGL 2, which this browser does not have."; return; }
    robot.show([motion]);
    let seen = true; // what is scrolled out of sight is not drawn
    const see = time => { if (seen) robot.seek(time - clock.start); };
    const watcher = new IntersectionObserver(found => {
      if (stage.parentElement !== place) { watcher.disconnect(); return; } // it shows another episode now
      seen = found.at(-1).isIntersecting;
      see(clock.time);
    });
    watcher.observe(stage);
    clock.follow(see);
    see(clock.time);
    const names = motion.points.map((one, i) => el("span", { class: `c${(i + 1) % 8}` }, el("i", { class: "key" }), one.name));
    if (names.length) place.append(el("div", { class: "legend" }, names));
    stage.dataset.shown = which;
  } catch (problem) {
    place.replaceChildren(el("p", { class: "panel nothing" }, problem.message));
    kept.append(stage);
  } finally {
    stage.classList.remove("waiting");
  }
}

function quality(place, found) {
  const reasons = found.reasons.map(one => el("li", {}, verdict(one.verdict), ` ${one.measure.replaceAll("_", " ")}${one.value === null ? "" : ` = ${number(one.value)}`}, ${one.limit}${one.note ? ` (${one.note})` : ""}`));
  const lines = Object.entries(found.readings).map(([name, one]) => el("tr", { title: found.about[name]?.text },
    el("td", {}, name.replaceAll("_", " ")), el("td", { class: "n" }, one.value === null ? "" : number(one.value), el("small", {}, found.about[name]?.unit === "1" || one.value === null ? "" : ` ${found.about[name]?.unit}`)), el("td", {}, el("small", {}, one.note))));
  place.replaceChildren(el("h2", {}, "Quality"),
    el("p", { class: "intro" }, "Measured now, this episode by itself, with the limits of ", el("code", {}, found.preset), "."),
    el("div", { class: "panel judged" }, el("p", {}, verdict(found.verdict), reasons.length ? "" : " Nothing is beyond its limits."), reasons.length ? el("ul", {}, reasons) : "",
      el("details", {}, el("summary", {}, `All measures (${lines.length})`), el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, lines))))));
}

function provenance(made, details) {
  const pairs = [
    ["environment", made.env_id], ["arguments", made.kwargs], ["seed", made.seed], ["policy", made.policy], ["recorded outcome", { success: made.success, failure: made.failure, terminated: made.terminated, truncated: made.truncated }],
    ["randomisation", made.randomisation], ["robot model", made.model_hash], ["configuration", made.config_hash], ["code", made.code_commit], ["versions", made.versions],
    ["started", new Date(made.started_ns / 1e6).toISOString()], ["content sha256", details.content_sha256], ["file", `${details.bytes.toLocaleString("en")} bytes`],
    ["origin", made.origin], ["imported", made.imported], ["cleaned", made.cleaned],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "" && !(typeof value === "object" && !Object.keys(value).length));
  const text = value => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return el("section", {}, el("h2", {}, "Where it comes from"), el("dl", {}, pairs.map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("code", {}, text(value)))])));
}
