// The lists of overrides and of events: similar entries are folded into one line that opens.

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

// Redraws a list and keeps the nodes that stay, with their focus, scroll position and open state.
class Kept {
  constructor(parent) {
    this.parent = parent;
    this.nodes = new Map();
  }

  // Takes entries of [key, draw]; `draw` gets the node of this key, if there is one, and returns it or a new one.
  show(entries) {
    const nodes = new Map(entries.map(([key, draw]) => [key, draw(this.nodes.get(key))]));
    this.nodes.forEach((node, key) => { if (nodes.get(key) !== node) node.remove(); });
    [...nodes.values()].forEach((node, index) => {
      const current = this.parent.children[index];
      if (current !== node) this.parent.insertBefore(node, current ?? null);
    });
    this.nodes = nodes;
  }
}

const overrideGroups = new Kept($("overrides"));
const eventLines = new Kept($("events"));

function folded(known, open, summary, body, kind = "") {
  const node = known ?? element("details", {}, element("summary", { class: kind }), "");
  if (!known) node.open = open;
  node.firstChild.replaceChildren(...summary);
  node.lastChild.replaceWith(body);
  return node;
}

export function showOverrides(view, halted) {
  const overrides = view?.overrides ?? [];
  const moved = sum(overrides.map(({ override }) => override.bps));
  $("overrides-count").textContent = overrides.length ? `${count(overrides.length, "prefix")}, ${bits(moved)}` : "";
  $("overrides-about").textContent = about(view, halted);
  $("overrides").hidden = !overrides.length;
  const groups = grouped(overrides, ({ override }) => `${naturalLinks(override)} \u2192 ${short(override.exit.link)}`);
  const largest = [...groups].sort(([, a], [, b]) => load(b) - load(a));
  overrideGroups.show(largest.map(([route, shown]) => [route, (known) => folded(known, overrides.length <= OPEN_AT_MOST, [
    element("span", { class: "route" }, route),
    element("small", {}, confirmedOf(shown)),
    element("span", {}, `${count(shown.length, "prefix")}, ${bits(load(shown))}`),
  ], tableOf(shown))]));
}

const load = (shown) => sum(shown.map(({ override }) => override.bps));

function naturalLinks(override) {
  const shares = grouped(override.natural, (exit) => short(exit.link));
  const parts = [...shares].map(([link, exits]) => [link, sum(exits.map((exit) => exit.share))]);
  return parts.length === 1 ? parts[0][0] : parts.map(([link, share]) => `${link} ${percent(share)}`).join(", ") || "no exit";
}

function about(view, halted) {
  if (!view) return "No decision yet. Telemetry makes one per window.";
  const decision = `Decision ${view.epoch}.${view.seq} of ${time(view.made_at)}; without another it expires at ${time(view.hold_until)}.`;
  if (halted) return `${decision} The PoP is halted: no override is announced.`;
  if (view.mode !== "auto") return `${decision} The mode is ${view.mode}: no override is announced.`;
  return view.overrides.length ? decision : `${decision} Every prefix leaves where plain BGP sends it.`;
}

function confirmedOf(shown) {
  const states = shown.flatMap(({ override, progress }) => override.inject_on.map((router) => progress.routers[router]));
  if (states.some((state) => state?.startsWith("would"))) return "dry run";
  const confirmed = states.filter((state) => state === "confirmed").length;
  const refused = shown.filter(({ progress }) => progress.state === "refused").length;
  const said = confirmed === states.length ? "all confirmed" : `${confirmed} of ${states.length} routes confirmed`;
  return refused ? `${said}, ${refused} refused` : said;
}

const progressOf = ({ override, progress }) => (progress.reason ? `${progress.state}: ${progress.reason}`
  : override.inject_on.map((router) => `${router} ${progress.routers[router] ?? "not yet"}`).join(", "));

function tableOf(shown) {
  const rows = [...shown].sort((a, b) => b.override.bps - a.override.bps).map(({ override, progress }) =>
    element("tr", { "data-prefix": override.prefix },
      element("td", {}, override.prefix),
      element("td", { class: "number" }, bits(override.bps)),
      element("td", {}, override.exit.next_hop),
      element("td", {}, progressOf({ override, progress })),
      element("td", {}, override.reason)));
  const head = ["prefix", "load", "next hop", "routers", "reason"].map((name) =>
    element("th", { scope: "col", class: name === "load" ? "number" : "" }, name));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
}

export function showEvents(events) {
  const newest = [...events].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  const alike = grouped(newest, (event) => `${event.kind} ${event.what} ${Math.floor(Date.parse(event.at) / 1000 / ALIKE_S)}`);
  $("events-about").hidden = alike.size > 0;
  eventLines.show([...alike].slice(0, LINES_MAX).map(([key, group]) => [key, (known) => lineOf(known, group)]));
}

function lineOf(known, group) {
  if (known?.dataset.count === String(group.length)) return known;
  const [{ at, kind, subject, what }] = group;
  const bps = sum(group.map((event) => event.bps ?? 0));
  const who = group.length > 1 ? count(group.length, kind === "congestion" || kind === "relief" ? "link" : "prefix") : subject;
  const text = `${who}${bps ? ` (${bits(bps)})` : ""} ${what}`;
  const parts = [element("time", { datetime: at }, time(at)), badge(`kind-${kind}`, kind), element("span", {}, text)];
  const line = element("li", { "data-count": group.length });
  if (group.length === 1) {
    line.append(element("div", { class: "event" }, ...parts));
    return line;
  }
  const subjects = group.map((event) => element("li", {}, event.bps ? `${event.subject}  ${bits(event.bps)}` : event.subject));
  line.append(folded(undefined, known?.firstChild.open ?? false, parts, element("ul", { class: "subjects" }, ...subjects), "event"));
  return line;
}
