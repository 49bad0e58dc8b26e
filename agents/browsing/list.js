// The list of episodes: filters above, a page of rows below; all of it stands in the address.

import { ask, chip, el, number, options, outcome, verdict, yes } from "./ask.js";

const COLUMNS = [
  ["number", "Episode"], ["task", "Task"], ["seed", "Seed"], ["policy", "Policy"], ["seconds", "Seconds"],
  ["success", "Outcome"], ["quality", "Quality"], [null, "Labels"],
];

export function link(number, query) {
  const text = new URLSearchParams(query).toString();
  return `#/${number === null ? "" : `episode/${number}`}${text ? `?${text}` : ""}`;
}

export function withoutEmpty(query) {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== "" && value !== "0"));
}

export async function showList(store, query) {
  const { plots, ...asked } = query;
  const focus = document.activeElement?.name;
  let wrong = "";
  const found = await ask("episodes", asked).catch(problem => {
    if (!asked.where) throw problem;
    wrong = problem.message; // most often the SQL: leave it there to be mended
    return ask("episodes", { ...asked, where: "" });
  });
  const go = change => { location.hash = link(null, withoutEmpty({ ...query, page: "", ...change })); };
  const listed = wrong ? [el("p", { class: "panel nothing problem" }, wrong)] : [table(found, query, go), pages(found, query)];
  const parts = [head(store), filters(found.choices, asked, go), ...listed];
  if (found.problems.length) parts.push(el("details", {}, el("summary", {}, `Problems (${found.problems.length})`), el("ul", {}, found.problems.map(text => el("li", {}, text)))));
  return {
    name: "list", parts, leave: () => {},
    begin: () => {
      document.title = `${store.name} · episodes`;
      if (focus) document.querySelector(`.filters [name="${CSS.escape(focus)}"]`)?.focus();
    },
  };
}

function head(store) {
  return el("header", {},
    el("p", { class: "eyebrow" }, `${store.robot} · ${number(store.control_rate)} Hz · ${store.channels.length + store.pictures.length} channels`),
    el("h1", {}, store.name), el("p", { class: "lead" }, store.instruction));
}

function filters(choices, asked, go) {
  const parts = [];
  const add = (name, label, list) => {
    const chosen = asked[name] || "";
    if (list.length < 2 && !chosen) return; // a choice of one value is none
    if (chosen && !list.some(([value]) => value === chosen)) list = [...list, [chosen, chosen]];
    parts.push(el("label", {}, label, el("select", { name, onchange: e => go({ [name]: e.target.value }) }, options([["", "any"], ...list], chosen))));
  };
  for (const [name, label] of [["task", "Task"], ["robot", "Robot"], ["tier", "Tier"], ["policy", "Policy"]]) add(name, label, counted(choices[name]));
  add("success", "Outcome", [["yes", "success"], ["no", "no success"], ["unknown", "unknown"], ["corrected", "corrected by somebody"]]);
  add("failure", "Failure", counted(choices.failure));
  add("quality", "Quality", [["pass", "pass"], ["warn", "warn"], ["fail", "fail"], ["none", "no verdict"]]);
  add("tag", "Tag", counted(choices.tag));
  add("seen", "Labelled by a person", [["no", "not yet"], ["yes", "yes"]]);
  add("dropped", "Dropped", [["no", "no"], ["yes", "yes"]]);
  const where = el("input", { name: "where", value: asked.where || "", placeholder: "success and seconds > 3", spellcheck: "false", autocomplete: "off", onchange: e => go({ where: e.target.value.trim() }) });
  parts.push(el("label", { class: "where" }, "Where (SQL)", where));
  const some = Object.keys(asked).some(name => !["page", "order", "down"].includes(name));
  parts.push(el("button", { type: "button", class: "quiet", disabled: !some, onclick: () => { location.hash = "#/"; } }, "Clear"));
  return el("form", { class: "panel filters", onsubmit: e => { e.preventDefault(); go({ where: where.value.trim() }); } }, parts);
}

const counted = list => list.map(([value, count]) => [value, `${value} (${count})`]);

function table(found, query, go) {
  const order = query.order || "number", down = query.down === "yes";
  const sort = name => () => go({ order: name === "number" ? "" : name, down: order === name && !down ? "yes" : "" });
  const heads = COLUMNS.map(([name, text]) => el("th", { class: `k-${name || "labels"}`, "aria-sort": name === order ? (down ? "descending" : "ascending") : null },
    name ? el("button", { type: "button", onclick: sort(name) }, text, name === order ? (down ? " ↓" : " ↑") : "") : text));
  const rows = found.episodes.map(one => el("tr", { onclick: e => { if (!e.target.closest("a")) location.hash = link(one.number, withoutEmpty(query)); } },
    el("td", { class: "k-number" }, el("a", { href: link(one.number, withoutEmpty(query)) }, `${one.number}`)),
    el("td", { class: "k-task" }, one.task, one.tier ? el("small", {}, ` ${one.tier}`) : ""),
    el("td", { class: "k-seed n" }, `${one.seed}`),
    el("td", { class: "k-policy" }, one.policy),
    el("td", { class: "k-seconds n" }, number(one.seconds)),
    el("td", { class: "k-success" }, outcome(one.success), one.failure ? el("small", {}, ` ${one.failure}`) : "", corrected(one)),
    el("td", { class: "k-quality" }, verdict(one.quality)),
    el("td", { class: "k-labels" }, one.dropped ? chip("dropped", "bad") : "", (one.tags || []).map(text => chip(text)), one.note ? el("small", { class: "note" }, one.note) : "")));
  if (!rows.length) return el("p", { class: "panel nothing" }, "No episode fits these filters.");
  return el("div", { class: "panel table scroll" }, el("table", { class: "episodes" }, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, rows)));
}

function corrected(one) {
  if (one.success === one.success_recorded) return "";
  return el("small", {}, ` · recorded: ${yes(one.success_recorded) || "nothing"}`);
}

function pages(found, query) {
  const at = page => link(null, withoutEmpty({ ...query, page: String(page) }));
  const last = found.first + found.episodes.length;
  const text = found.found ? `${(found.first + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.found.toLocaleString("en")}` : "0";
  const all = found.found === found.total ? " episodes" : ` that fit, of ${found.total.toLocaleString("en")} episodes`;
  return el("nav", { class: "pages", "aria-label": "Pages" },
    el("span", { class: "muted" }, text + all),
    found.page > 0 ? el("a", { href: at(0) }, "First") : "", found.page > 0 ? el("a", { href: at(found.page - 1), rel: "prev" }, "Previous") : "",
    found.page + 1 < found.pages ? el("a", { href: at(found.page + 1), rel: "next" }, "Next") : "",
    found.page + 1 < found.pages ? el("a", { href: at(found.pages - 1) }, "Last") : "");
}
