// The episode's time: one clock that everything follows, and the bar on which phases and events stand.

import { el, options } from "./ask.js";

export class Clock {
  constructor(start, end) {
    Object.assign(this, { start, end, time: start, playing: false, pace: 1, followers: [], shown: null });
  }
  follow(what) { this.followers.push(what); }
  set(time) {
    this.time = Math.min(Math.max(time, this.start), this.end);
    for (const what of this.followers) what(this.time);
  }
  run(on) {
    if (on && this.time >= this.end) this.set(this.start);
    this.playing = on;
    this.shown = null;
    this.set(this.time);
    if (on) requestAnimationFrame(stamp => this.tick(stamp));
  }
  tick(stamp) {
    if (!this.playing) return;
    const passed = this.shown === null ? 0 : Math.min((stamp - this.shown) / 1000, 0.5);
    this.shown = stamp;
    this.set(this.time + passed * this.pace);
    if (this.time >= this.end) this.run(false);
    else requestAnimationFrame(next => this.tick(next));
  }
}

export function timeline(clock, rows) {
  const play = el("button", { type: "button", class: "play", onclick: () => clock.run(!clock.playing) }, "Play");
  const shown = el("span", { class: "clock" });
  const speed = el("select", { "aria-label": "Speed", onchange: e => { clock.pace = Number(e.target.value); } },
    options([["0.25", "0.25 ×"], ["0.5", "0.5 ×"], ["1", "1 ×"], ["2", "2 ×"], ["4", "4 ×"]], "1"));
  const lanes = el("div", { class: "lanes" }), cursor = el("i", { class: "cursor" });
  const bar = el("div", { class: "bar", role: "slider", tabindex: "0", "aria-label": "Time", "aria-valuemin": clock.start, "aria-valuemax": clock.end }, lanes, cursor);
  const share = time => `${100 * (time - clock.start) / Math.max(clock.end - clock.start, 1e-9)}%`;
  const seek = e => {
    const box = bar.getBoundingClientRect();
    clock.set(clock.start + (clock.end - clock.start) * (e.clientX - box.left) / Math.max(box.width, 1));
  };
  bar.addEventListener("pointerdown", e => { bar.setPointerCapture(e.pointerId); clock.run(false); seek(e); });
  bar.addEventListener("pointermove", e => { if (bar.hasPointerCapture(e.pointerId)) seek(e); });
  bar.addEventListener("keydown", e => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[e.key];
    if (step) clock.set(rows.time(rows.at(clock.time) + step));
    else if (e.key === "Home") clock.set(clock.start);
    else if (e.key === "End") clock.set(clock.end);
    else if (e.key === " ") clock.run(!clock.playing);
    else return;
    e.preventDefault();
  });
  clock.follow(time => {
    cursor.style.left = share(time);
    shown.textContent = `${time.toFixed(2)} s · row ${rows.at(time)}`;
    bar.setAttribute("aria-valuenow", time.toFixed(3));
    play.textContent = clock.playing ? "Pause" : "Play";
  });

  const names = [];
  const colour = name => { if (!names.includes(name)) names.push(name); return names.indexOf(name) % 8; };
  const lane = (title, phases, events) => el("div", { class: "lane", title },
    phases.map(one => {
      const made = el("span", { class: `phase c${colour(one.name)}`, title: `${one.name}: rows ${one.first} to ${one.last}` }, el("b", {}, one.name));
      made.style.left = share(rows.time(one.first));
      made.style.width = `calc(${share(clock.start + rows.time(one.last + 1) - rows.time(one.first))} - 1px)`;
      return made;
    }),
    events.map(one => {
      const made = el("span", { class: "event", title: `${one.name}: row ${one.row}` }, el("b", {}, one.name));
      made.style.left = share(rows.time(one.row));
      if (rows.time(one.row) > clock.start + 0.75 * (clock.end - clock.start)) made.classList.add("left");
      return made;
    }));
  const show = (recorded, labelled) => {
    const found = [lane("As recorded", recorded.phases, []), lane("As recorded", [], recorded.events)];
    if (labelled.phases.length) found.push(lane("Labels", labelled.phases, []));
    if (labelled.events.length) found.push(lane("Labels", [], labelled.events));
    lanes.replaceChildren(...found.filter(one => one.childElementCount));
  };
  return { part: el("div", { class: "panel timeline" }, el("div", { class: "buttons" }, play, shown, speed), bar), show };
}
