// Questions to the server, and elements made from answers. Whatever comes from the store becomes text, never markup.

const KEY = "training-ground token";

// The token stands behind the # of the address that was printed; it is kept for this address and taken out of sight.
const given = /^#token=([\w-]+)$/.exec(location.hash);
if (given) {
  localStorage.setItem(KEY, given[1]);
  history.replaceState(null, "", "/#/");
}

async function send(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${localStorage.getItem(KEY) || ""}` };
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Error("The server does not answer: was `tg data browse` ended?");
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

const address = (name, query) => {
  const text = new URLSearchParams(query).toString();
  return `/api/${name}${text ? `?${text}` : ""}`;
};

export const ask = async (name, query = {}, signal) => (await send(address(name, query), { signal })).json();
export const picture = async query => (await send(address("picture", query))).blob();
export const tell = async data => (await send("/api/labels", {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data),
})).json();

export function floats(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

// el("a", { class: "x", href: "#/", onclick: f }, "text", element)
export function el(name, about = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(about)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...inside.flat(2).filter(one => one !== null && one !== undefined && one !== false));
  return made;
}

export function drawn(name, about = {}, ...inside) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

const MINUS = "\u2212";
export const number = (value, digits = 4) =>
  Number.isFinite(value) ? String(Number(value.toPrecision(digits))).replace("-", MINUS) : "none";
export const yes = value => (value === true ? "yes" : value === false ? "no" : "");
export const options = (list, chosen) => list.map(([value, text]) => {
  const made = el("option", { value }, text);
  made.selected = value === chosen;
  return made;
});

export function chip(text, kind = "") { return el("span", { class: `chip ${kind}` }, text); }
export const outcome = value => value === true ? chip("success", "good") : value === false ? chip("no success", "bad") : "";
export const verdict = value => value ? chip(value, { pass: "good", warn: "warn", fail: "bad" }[value] || "") : "";

let quiet;
export function say(text, bad = false) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.className = bad ? "on bad" : "on";
  clearTimeout(quiet);
  quiet = setTimeout(() => { place.className = ""; }, bad ? 9000 : 3500);
}
