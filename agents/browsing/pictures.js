// What cameras saw at the clock's time. One request a camera is under way at any time; what lies between is left out.

import { el, picture } from "./ask.js";

export function pictures(names, number, clock, rows) {
  if (!names.length) return { part: null, leave: () => {} };
  const shown = new Set(names.slice(0, 2)), cameras = new Map();
  const place = el("div", { class: "cameras" });
  const buttons = names.length > 1 ? el("div", { class: "chips" }, names.map(name => {
    const made = el("button", { type: "button", class: "chip pick", "aria-pressed": String(shown.has(name)), onclick: () => {
      if (!shown.delete(name)) shown.add(name);
      made.setAttribute("aria-pressed", String(shown.has(name)));
      arrange();
    } }, name);
    return made;
  })) : "";

  function arrange() {
    for (const name of names) if (shown.has(name) && !cameras.has(name)) cameras.set(name, camera(name));
    place.replaceChildren(...names.filter(name => shown.has(name)).map(name => cameras.get(name).part));
    for (const name of shown) cameras.get(name).see(rows.at(clock.time));
  }
  function camera(name) {
    const image = el("img", { alt: `What ${name} saw` }), caption = el("figcaption", {}, name);
    let busy = false, wanted = null, have = null, url = null;
    async function see(row) {
      wanted = row;
      if (busy || have === wanted) return;
      busy = true;
      while (have !== wanted && image.isConnected) {
        const now = wanted;
        try {
          const next = URL.createObjectURL(await picture({ number, channel: name, row: now }));
          image.src = next;
          if (url) URL.revokeObjectURL(url);
          url = next;
          image.dataset.row = now;
          caption.textContent = name;
        } catch (problem) {
          caption.textContent = problem.message;
        }
        have = now;
      }
      busy = false;
    }
    return { part: el("figure", { class: "camera" }, image, caption), see, leave: () => { if (url) URL.revokeObjectURL(url); } };
  }
  clock.follow(time => { for (const name of shown) cameras.get(name)?.see(rows.at(time)); });
  return {
    part: el("div", { class: "panel pictures" }, buttons, place), begin: arrange,
    leave: () => { for (const one of cameras.values()) one.leave(); },
  };
}
