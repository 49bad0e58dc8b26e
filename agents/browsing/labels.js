// Labels in force, who says so, and their correction: what is saved stands beside what was recorded, never over it.

import { el, options, say, tell, yes } from "./ask.js";

const TITLES = {
  success: "Success", failure: "Failure", instruction: "Instruction", quality: "Quality", dropped: "Dropped",
  tags: "Tags", note: "Note", phase: "Phases", event: "Events",
};
const BOOLEAN = [["", "not said"], ["true", "yes"], ["false", "no"]];
const AUTHOR = "training-ground author";

export function labels(store, details, clock, rows, changed) {
  const form = el("form", { class: "panel labels", onsubmit: save }), history = el("div", {});
  let shown = details, fields = {};

  function build() {
    fields = {};
    const lines = Object.keys(TITLES).filter(name => store.fields.includes(name)).map(name => {
      const now = shown.labels[name], made = control(name, now.value);
      fields[name] = { ...made, before: JSON.stringify(made.read()) };
      const back = now.source !== null && now.source !== "simulator" ? el("button", { type: "button", class: "quiet", onclick: () => write({ [name]: null }) }, "Take back") : "";
      return el("div", { class: "field", "data-field": name }, el("label", { for: `label-${name}` }, TITLES[name]), made.part, el("p", { class: "who" }, who(name, now), " ", back));
    });
    const author = el("input", { id: "label-author", name: "author", required: true, maxlength: "200", value: localStorage.getItem(AUTHOR) || store.author, placeholder: "Your name", autocomplete: "name", onchange: e => localStorage.setItem(AUTHOR, e.target.value) });
    const sure = el("input", { id: "label-confidence", name: "confidence", type: "number", min: "0", max: "1", step: "any", placeholder: "0 to 1" });
    form.replaceChildren(...lines, el("div", { class: "saving" },
      el("label", {}, "Author", author), el("label", {}, "Confidence", sure), el("button", { type: "submit", class: "save" }, "Save")));
    form.onchange = form.oninput = count;
    count();
    record();
  }

  function control(name, value) {
    const id = `label-${name}`;
    if (name === "success" || name === "dropped") {
      const made = el("select", { id, name }, options(BOOLEAN, value === null ? "" : String(value)));
      return { part: made, read: () => (made.value === "" ? null : made.value === "true") };
    }
    if (name === "quality") {
      const made = el("select", { id, name }, options([["", "not said"], ["pass", "pass"], ["warn", "warn"], ["fail", "fail"]], value?.verdict || ""));
      return { part: made, read: () => (made.value === "" ? null : { verdict: made.value, scores: made.value === value?.verdict ? value.scores : {} }) };
    }
    if (name === "tags") {
      const made = el("input", { id, name, value: (value || []).join(", "), placeholder: "separated by commas" });
      return { part: made, read: () => { const all = made.value.split(",").map(one => one.trim()).filter(Boolean); return all.length ? all : null; } };
    }
    if (name === "phase" || name === "event") return rowsOf(name, value || []);
    const made = el(name === "failure" ? "input" : "textarea", { id, name, rows: "1", maxlength: "10000", value: value || "" });
    // An empty failure says that there was none, where one was recorded; other empty texts say nothing.
    return { part: made, read: () => made.value || (name === "failure" && shown.recorded.failure ? "" : null) };
  }

  function rowsOf(name, given) {
    const list = el("div", { class: "items" }), keys = name === "phase" ? ["first", "last"] : ["row"];
    const add = one => {
      const box = (key, value, kind) => el("input", { "data-key": key, value: String(value), type: kind, min: "0", max: String(details.rows - 1), "aria-label": `${TITLES[name]}: ${key}`, required: true });
      const item = el("div", { class: "item" }, keys.map(key => box(key, one[key], "number")), box("name", one.name, "text"),
        el("button", { type: "button", class: "close", "aria-label": "Remove", onclick: () => { item.remove(); count(); } }, "×"));
      list.append(item);
    };
    given.forEach(add);
    const here = el("button", { type: "button", class: "quiet", id: `label-${name}`, onclick: () => {
      const row = rows.at(clock.time);
      add(name === "phase" ? { first: row, last: details.rows - 1, name: "" } : { row, name: "" });
      list.lastChild.querySelector("[data-key=name]").focus();
      count();
    } }, "Add at the clock's row");
    const read = () => {
      const all = [...list.children].map(item => Object.fromEntries([...item.querySelectorAll("input")].map(box => [box.dataset.key, box.dataset.key === "name" ? box.value : Number(box.value)])));
      all.sort((a, b) => a[keys[0]] - b[keys[0]]);
      return all.length ? all : null;
    };
    return { part: el("div", {}, list, here), read };
  }

  function who(name, now) {
    const recorded = shown.recorded[name];
    if (now.source === null) return "";
    if (now.source === "simulator" && now.author === null) return "as recorded";
    const sure = now.confidence === null ? "" : `, confidence ${now.confidence}`;
    const differs = recorded !== undefined && recorded !== now.value ? ` · recorded: ${typeof recorded === "boolean" ? yes(recorded) : recorded || "nothing"}` : "";
    return `${now.author} (${now.source}${sure})${differs}`;
  }

  function values() {
    return Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.read(), one.before]).filter(([, now, before]) => JSON.stringify(now) !== before).map(([name, now]) => [name, now]));
  }
  function count() {
    const names = Object.keys(values()), button = form.querySelector(".save");
    button.disabled = !names.length;
    button.textContent = names.length ? `Save ${names.length} label${names.length > 1 ? "s" : ""}` : "Nothing to save";
  }
  function save(e) {
    e.preventDefault();
    write(values());
  }
  async function write(given) {
    const author = form.elements.author.value.trim(), sure = form.elements.confidence.value;
    if (!author) { form.elements.author.focus(); say("A label has an author: say who you are.", true); return; }
    localStorage.setItem(AUTHOR, author);
    try {
      shown = await tell({ number: details.number, content_sha256: shown.content_sha256, author, confidence: sure === "" ? null : Number(sure), values: given });
      build();
      changed(shown);
      say(`Saved beside what was recorded: ${Object.keys(given).join(", ")}.`);
    } catch (problem) {
      say(problem.message, true);
    }
  }
  function record() {
    if (!shown.history.length) { history.replaceChildren(); return; }
    const text = value => { const all = typeof value === "string" ? value : JSON.stringify(value); return all.length > 120 ? `${all.slice(0, 120)}…` : all; };
    history.replaceChildren(el("details", {}, el("summary", {}, `Everything that was said (${shown.history.length})`),
      el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, shown.history.map(one => el("tr", {},
        el("td", {}, one.field), el("td", {}, text(one.value)), el("td", {}, `${one.author} (${one.source})`), el("td", {}, one.status),
        el("td", {}, new Date(one.time_ns / 1e6).toISOString().slice(0, 19).replace("T", " ")))))))));
  }
  build();
  return { part: el("section", {}, el("h2", {}, "Labels"), el("p", { class: "intro" }, "What you save is kept beside what was recorded, with your name; nothing is written over."), form, history), unsaved: () => Object.keys(values()).length };
}
