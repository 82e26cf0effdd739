// Live overrides and what happened: many that are alike are one line, which opens.

import { badge, bits, count, element, percent, short, time } from "/static/text.js";

const OPEN_AT_MOST = 8;
const LINES_MAX = 100;
const ALIKE_S = 10;
const $ = (id) => document.getElementById(id);
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function grouped(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}

// A list that is drawn anew keeps what its reader opened and closed.
class Folds {
  constructor() {
    this.chosen = new Map();
  }

  fold(key, open, ...children) {
    const made = element("details", {}, ...children);
    made.open = this.chosen.get(key) ?? open;
    made.firstChild.addEventListener("click", () => this.chosen.set(key, !made.open));
    return made;
  }
}

const overrideFolds = new Folds();
const eventFolds = new Folds();

export function showOverrides(view, halted) {
  const overrides = view?.overrides ?? [];
  const moved = sum(overrides.map(({ override }) => override.bps));
  $("overrides-count").textContent = overrides.length ? `${count(overrides.length, "prefix")}, ${bits(moved)}` : "";
  $("overrides-about").textContent = about(view, halted);
  $("overrides").hidden = !overrides.length;
  const groups = grouped(overrides, ({ override }) => `${homes(override)} \u2192 ${short(override.exit.link)}`);
  const largest = [...groups].sort(([, a], [, b]) => load(b) - load(a));
  $("overrides").replaceChildren(...largest.map(([route, shown]) => overrideFolds.fold(route, overrides.length <= OPEN_AT_MOST,
    element("summary", {}, element("span", { class: "route" }, route), element("small", {}, confirmedOf(shown)),
      element("span", {}, `${count(shown.length, "prefix")}, ${bits(load(shown))}`)), tableOf(shown))));
}

const load = (shown) => sum(shown.map(({ override }) => override.bps));

function homes(override) {
  const shares = grouped(override.natural, (exit) => short(exit.link));
  const parts = [...shares].map(([link, exits]) => [link, sum(exits.map((exit) => exit.share))]);
  return parts.length === 1 ? parts[0][0] : parts.map(([link, share]) => `${link} ${percent(share)}`).join(", ") || "no exit";
}

function about(view, halted) {
  if (!view) return "Awaiting the first decision: telemetry makes one a window.";
  const made = `Decision ${view.epoch}.${view.seq} of ${time(view.made_at)}, held until ${time(view.hold_until)} without another.`;
  if (halted) return `${made} Halted: none of them is announced.`;
  if (view.mode !== "auto") return `${made} Mode ${view.mode}: none of them is announced.`;
  return view.overrides.length ? made : `${made} Every prefix leaves where BGP puts it.`;
}

function confirmedOf(shown) {
  const states = shown.flatMap(({ override, routers }) => override.inject_on.map((router) => routers[router]));
  const confirmed = states.filter((state) => state === "confirmed").length;
  return confirmed === states.length ? "all confirmed" : `${confirmed} of ${states.length} routes confirmed`;
}

function tableOf(shown) {
  const rows = [...shown].sort((a, b) => b.override.bps - a.override.bps).map(({ override, routers }) =>
    element("tr", { "data-prefix": override.prefix },
      element("td", {}, override.prefix),
      element("td", { class: "number" }, bits(override.bps)),
      element("td", {}, override.exit.next_hop),
      element("td", {}, override.inject_on.map((router) => `${router} ${routers[router] ?? "not yet"}`).join(", ")),
      element("td", {}, override.reason)));
  const head = ["prefix", "load", "next hop", "routers", "reason"].map((name) =>
    element("th", { scope: "col", class: name === "load" ? "number" : "" }, name));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

export function showEvents(events) {
  const newest = [...events].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  const alike = grouped(newest, (event) => `${event.kind} ${event.what} ${Math.floor(Date.parse(event.at) / 1000 / ALIKE_S)}`);
  $("events-about").hidden = alike.size > 0;
  $("events").replaceChildren(...[...alike].slice(0, LINES_MAX).map(([key, group]) => element("li", {}, lineOf(key, group))));
}

function lineOf(key, group) {
  const [{ at, kind, subject, what }] = group;
  const bps = sum(group.map((event) => event.bps ?? 0));
  const who = group.length > 1 ? count(group.length, kind === "congestion" || kind === "relief" ? "link" : "prefix") : subject;
  const text = `${who}${bps ? ` (${bits(bps)})` : ""} ${what}`;
  const parts = [element("time", { datetime: at }, time(at)), badge(`kind-${kind}`, kind), element("span", {}, text)];
  if (group.length === 1) return element("div", { class: "event" }, ...parts);
  const subjects = group.map((event) => element("li", {}, event.bps ? `${event.subject}  ${bits(event.bps)}` : event.subject));
  return eventFolds.fold(key, false, element("summary", { class: "event" }, ...parts), element("ul", { class: "subjects" }, ...subjects));
}
