// The page: which view the address asks for. #/?task=BinPick&page=2 is the list, #/episode/3?task=BinPick an episode in it.

import { ask, el } from "./ask.js";
import { showList } from "./list.js";
import { showEpisode } from "./episode.js";

const main = document.getElementById("main"), kept = document.getElementById("kept");
let store = null, view = { leave() {} }, wanted = 0, here = location.hash;

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const found = /^\/episode\/(\d{1,15})$/.exec(path);
  return { number: found ? Number(found[1]) : null, query: Object.fromEntries(new URLSearchParams(query)) };
}

async function show() {
  const unsaved = view.unsaved?.() || 0;
  if (unsaved && !confirm(`${unsaved} labels are not saved. Leave the episode?`)) {
    history.replaceState(null, "", here);
    return;
  }
  here = location.hash;
  const mine = ++wanted, { number, query } = parse(here);
  try {
    store ??= await ask("store");
    const next = number === null ? await showList(store, query) : await showEpisode(store, number, query, kept);
    if (mine !== wanted) { next.leave(); return; }
    view.leave();
    view = next;
    const again = main.dataset.view === view.name;
    main.dataset.view = view.name;
    main.replaceChildren(...view.parts);
    if (!again) scrollTo(0, 0);
    view.begin();
  } catch (problem) {
    if (mine !== wanted) return;
    view.leave();
    view = { leave() {} };
    main.dataset.view = "problem";
    main.replaceChildren(
      el("p", { class: "eyebrow" }, el("a", { href: "#/" }, "All episodes")),
      el("h1", {}, "This cannot be shown"), el("p", { class: "lead problem" }, problem.message));
  }
}

addEventListener("hashchange", show);
addEventListener("keydown", e => { // j and k: the next and the previous episode, as in other viewers
  const which = { j: ":last-child", k: ":first-child" }[e.key];
  if (which && !e.ctrlKey && !e.metaKey && !e.altKey && !e.target.closest("input, textarea, select")) document.querySelector(`.steps a${which}`)?.click();
});
addEventListener("beforeunload", e => { if (view.unsaved?.()) e.preventDefault(); });
show();
