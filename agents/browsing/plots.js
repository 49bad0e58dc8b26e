// Plots of channels over time. The server sums up what is narrower than a pixel; a stretch that is drawn out is asked anew.

import { ask, drawn, el, floats, number, options } from "./ask.js";

const FIRST = ["joint_angle", "joint_position", "action", "joint_torque", "reward"];
const MOST = 6, HEIGHT = 210, LEFT = 54, RIGHT = 12, TOP = 10, BOTTOM = 24;
const ROLES = { observation: "Observations", state: "Truth", action: "Actions", reward: "Rewards", event: "Events" };

export function chosen(store, query) {
  const known = store.channels.map(one => one.name);
  if (query.plots !== undefined) return query.plots.split(",").filter(name => known.includes(name)).slice(0, 24);
  const found = FIRST.filter(name => known.includes(name) && !(name === "joint_position" && known.includes("joint_angle")));
  return (found.length ? found : known).slice(0, 4);
}

export function plots(store, number_, clock, marks, names, changed) {
  const view = { start: clock.start, end: clock.end };
  const place = el("div", { class: "charts" }), charts = new Map();
  const whole = el("button", { type: "button", class: "quiet", hidden: true, onclick: () => zoom(clock.start, clock.end) }, "Whole episode");
  const adder = el("select", { "aria-label": "Add a channel", onchange: () => { if (adder.value) { choose([...names, adder.value]); } } });
  function update() {
    for (const [name, chart] of charts) if (!names.includes(name)) { chart.leave(); charts.delete(name); }
    for (const name of names) if (!charts.has(name)) charts.set(name, chart(name));
    place.replaceChildren(...names.map(name => charts.get(name).part));
    const left = store.channels.filter(one => !names.includes(one.name));
    const groups = Object.entries(ROLES).map(([role, text]) => {
      const made = el("optgroup", { label: text }, left.filter(one => one.role === role).map(one => el("option", { value: one.name, title: one.description }, `${one.name}${one.unit === "1" ? "" : ` (${one.unit})`}`)));
      return made.childElementCount ? made : null;
    }).filter(Boolean);
    adder.replaceChildren(el("option", { value: "" }, "Add a channel …"), ...groups);
  }
  function choose(now) {
    names = now;
    update();
    changed(names);
  }
  function zoom(start, end) {
    view.start = Math.max(start, clock.start);
    view.end = Math.min(end, clock.end);
    whole.hidden = view.start <= clock.start && view.end >= clock.end;
    for (const one of charts.values()) one.load();
  }

  function chart(name) {
    const about = store.channels.find(one => one.name === name);
    const svg = drawn("svg", { role: "img", "aria-label": `${name} over time` }), legend = el("div", { class: "values" });
    const more = el("div", { class: "buttons" }), note = el("p", { class: "note" });
    let data = null, hidden = null, order = [], style = {}, first = 0, box = null, cursor = null, asking = null, width = 0, drag = null;
    const close = el("button", { type: "button", class: "close", "aria-label": `Remove ${name}`, onclick: () => choose(names.filter(one => one !== name)) }, "×");
    const unit = el("span", { class: "unit" }, [about.unit === "1" ? "" : about.unit, about.frame === "none" ? "" : `${about.frame} frame`].filter(Boolean).join(" · "));
    const part = el("figure", { class: "chart plot", "data-channel": name },
      el("figcaption", { title: about.description }, el("b", {}, name), unit, close), svg, legend, more, note);
    const watcher = new ResizeObserver(() => { if (svg.clientWidth && Math.abs(svg.clientWidth - width) > 2) { const wider = svg.clientWidth > 1.3 * width; width = svg.clientWidth; if (wider || !data) load(); else draw(); } });
    watcher.observe(part);

    async function load() {
      if (!width) return;
      asking?.abort();
      asking = new AbortController();
      try {
        const buckets = Math.max(50, Math.min(Math.round(width - LEFT - RIGHT), 2000));
        const found = await ask("series", { number: number_, channel: name, first, start: view.start, end: view.end, buckets }, asking.signal);
        found.time = floats(found.time); found.low = floats(found.low); found.high = floats(found.high);
        if (!found.high.length) found.high = found.low;
        if (!data || data.first !== found.first) hidden = calm(found);
        data = found;
        note.textContent = found.not_finite ? `${found.not_finite} values are not finite and not drawn.` : "";
        note.classList.toggle("bad", found.not_finite > 0);
        draw(); list();
      } catch (problem) {
        if (problem.name !== "AbortError") { note.textContent = problem.message; note.classList.add("bad"); }
      }
    }
    // Of many lines those are shown that move most; the others are one click away.
    function calm(found) {
      const quiet = found.span.map((span, i) => [span, i]).sort((a, b) => b[0] - a[0]).slice(found.components.length > 8 ? MOST : found.components.length).map(([, i]) => i);
      order = [...found.components.keys()].sort((a, b) => quiet.includes(a) - quiet.includes(b) || a - b);
      style = order.reduce((all, i, rank) => Object.assign(all, { [i]: `c${rank % 8} d${Math.floor(rank / 8) % 4}` }), {});
      return new Set(quiet);
    }
    function draw() {
      const lines = data.components.map((_, i) => i).filter(i => !hidden.has(i)), k = data.points;
      let low = Infinity, high = -Infinity;
      for (const i of lines) for (let j = i * k; j < i * k + k; j++) { if (data.low[j] < low) low = data.low[j]; if (data.high[j] > high) high = data.high[j]; }
      if (!(high >= low)) [low, high] = [0, 1];
      const pad = high > low ? 0.06 * (high - low) : Math.abs(high) * 0.1 || 1;
      box = { left: LEFT, right: width - RIGHT, top: TOP, bottom: HEIGHT - BOTTOM, low: low - pad, high: high + pad };
      svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      const parts = [...grid(box, view), ...marks().map(mark => flag(box, view, mark))];
      for (const i of lines) parts.push(line(i));
      cursor = drawn("line", { class: "cursor", y1: box.top, y2: box.bottom });
      svg.replaceChildren(...parts, cursor);
      move(clock.time);
    }
    const x = time => box.left + (box.right - box.left) * (time - view.start) / Math.max(view.end - view.start, 1e-9);
    const y = value => box.bottom - (box.bottom - box.top) * (value - box.low) / (box.high - box.low);
    function line(i) {
      const k = data.points, same = data.high === data.low;
      let path = "", pen = "M";
      for (let j = 0; j < k; j++) {
        const low = data.low[i * k + j], high = data.high[i * k + j];
        if (Number.isNaN(low)) { pen = "M"; continue; }
        const at = Math.min(Math.max(x(data.time[j]), box.left - 1), box.right + 1).toFixed(1);
        path += `${pen}${at} ${y(low).toFixed(1)}`;
        pen = "L";
        if (!same && high !== low) path += `L${at} ${y(high).toFixed(1)}`;
      }
      return drawn("path", { class: `line ${style[i]}`, d: path || "M0 0", "data-line": i });
    }
    function list() {
      const many = data.components.length > 1;
      legend.replaceChildren(...order.map(i => [data.components[i], i]).map(([text, i]) => el("button", {
        type: "button", class: `value ${style[i]}`, "aria-pressed": String(!hidden.has(i)), disabled: !many, title: text,
        onclick: () => { if (!hidden.delete(i)) hidden.add(i); draw(); list(); },
        onpointerenter: () => light(i, true), onpointerleave: () => light(i, false),
      }, el("i", { class: "key" }), el("span", { class: "name" }, text || name), el("span", { class: "now" }))));
      const all = text => el("button", { type: "button", class: "quiet", onclick: () => { hidden = text === "All" ? new Set() : text === "None" ? new Set(data.components.keys()) : calm(data); draw(); list(); } }, text);
      const page = step => el("button", { type: "button", class: "quiet", disabled: first + step < 0 || first + step >= data.total, onclick: () => { first += step; load(); } }, step < 0 ? "Previous components" : "Next components");
      more.replaceChildren(...(data.components.length > 8 ? [all("Most moving"), all("All"), all("None")] : []),
        ...(data.total > data.components.length ? [el("span", { class: "muted" }, `${data.first} to ${data.first + data.components.length - 1} of ${data.total}`), page(-64), page(64)] : []));
      move(clock.time);
    }
    function light(i, on) { svg.querySelector(`[data-line="${i}"]`)?.classList.toggle("lit", on); svg.classList.toggle("lit", on); }
    function move(time) {
      if (!data || !box) return;
      const inside = time >= view.start && time <= view.end;
      cursor.setAttribute("x1", x(time)); cursor.setAttribute("x2", x(time));
      cursor.style.visibility = inside ? "visible" : "hidden";
      let a = 0, b = data.points - 1;
      while (a < b) { const m = (a + b + 1) >> 1; if (data.time[m] <= time + 1e-6) a = m; else b = m - 1; }
      for (const [at, one] of [...legend.children].entries()) {
        const i = order[at], low = data.low[i * data.points + a], high = data.high[i * data.points + a];
        one.lastChild.textContent = !inside || hidden.has(i) ? "" : high === low ? number(low) : number((low + high) / 2, 3);
      }
    }
    const timeOf = e => view.start + (view.end - view.start) * Math.min(Math.max((e.clientX - svg.getBoundingClientRect().left) / svg.clientWidth * width - LEFT, 0) / Math.max(width - LEFT - RIGHT, 1), 1);
    svg.addEventListener("pointerdown", e => { if (box) { drag = { from: timeOf(e), x: e.clientX }; svg.setPointerCapture(e.pointerId); } });
    svg.addEventListener("pointermove", e => {
      if (!drag || Math.abs(e.clientX - drag.x) < 6) return;
      drag.band ??= svg.appendChild(drawn("rect", { class: "band", y: box.top, height: box.bottom - box.top }));
      const [a, b] = [x(drag.from), x(timeOf(e))].sort((p, q) => p - q);
      drag.band.setAttribute("x", a); drag.band.setAttribute("width", b - a);
    });
    svg.addEventListener("pointerup", e => {
      if (!drag) return;
      const [a, b] = [drag.from, timeOf(e)].sort((p, q) => p - q), band = drag.band;
      drag = null;
      band?.remove();
      if (band && b - a > 1e-3) zoom(a, b); else clock.set(timeOf(e));
    });
    svg.addEventListener("pointercancel", () => { drag?.band?.remove(); drag = null; });
    svg.addEventListener("dblclick", () => zoom(clock.start, clock.end));
    return { part, load, draw: () => { if (data) draw(); }, move, leave: () => { watcher.disconnect(); asking?.abort(); } };
  }

  clock.follow(time => { for (const one of charts.values()) one.move(time); });
  update();
  return {
    part: el("section", {}, el("div", { class: "row" }, el("h2", {}, "Channels"), adder, whole),
      el("p", { class: "intro" }, "Click for a moment, draw over a stretch to see it closely, double-click for the whole again."), place),
    redraw: () => { for (const one of charts.values()) one.draw(); },
    leave: () => { for (const one of charts.values()) one.leave(); },
  };
}

function ticks(low, high, most) {
  const rough = (high - low) / most, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(f => f * size).find(s => s >= rough * (1 - 1e-9)), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= high / step + 1e-9 && found.length < 50; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function grid(box, view) {
  const parts = [], across = box.right - box.left;
  for (const value of ticks(box.low, box.high, 5)) {
    const y = box.bottom - (box.bottom - box.top) * (value - box.low) / (box.high - box.low);
    parts.push(drawn("line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y }), drawn("text", { x: box.left - 7, y: y + 3.5, "text-anchor": "end" }, number(value)));
  }
  const chosen = ticks(view.start, view.end, Math.max(2, Math.floor(across / 80)));
  for (const [i, value] of chosen.entries()) {
    const x = box.left + across * (value - view.start) / (view.end - view.start);
    parts.push(drawn("line", { class: "axis", x1: x, x2: x, y1: box.bottom, y2: box.bottom + 4 }), drawn("text", { x, y: box.bottom + 17, "text-anchor": "middle" }, number(value) + (i === chosen.length - 1 ? " s" : "")));
  }
  parts.push(drawn("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  return parts;
}

function flag(box, view, time) {
  if (time < view.start || time > view.end) return "";
  const x = box.left + (box.right - box.left) * (time - view.start) / (view.end - view.start);
  return drawn("line", { class: "push", x1: x, x2: x, y1: box.top, y2: box.bottom });
}
