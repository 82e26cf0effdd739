// The page: follows the stream of updates of one PoP. The stream begins with a whole snapshot, also when it comes back.

import { LinkChart, utc } from "/static/chart.js";

const EVENTS_SHOWN = 200;
const STALE_MS = 5000;
const $ = (id) => document.getElementById(id);
const gbps = (bps) => (bps / 1e9).toFixed(2);
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const time = (iso) => utc(new Date(iso));

const pop = new URLSearchParams(location.search).get("pop");
let cards = new Map();
let events = new Map();
let enterMark = 0;
let heardAt = 0;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const FEEDS = {
  live: "counters and flows arrive",
  gap: "a window is missing in the last minute",
  untrusted: "no trusted counters: the level rests on sampled flows alone",
  silent: "nothing has been told of this link for three windows",
};

class Card {
  constructor(view) {
    this.figures = element("dl");
    this.state = element("p", { class: "state" });
    this.feed = element("span", { class: "badge" });
    this.name = element("h3", {}, short(view.link));
    this.kind = element("span", { class: "kind" });
    const chart = element("div", { class: "chart", role: "img", "aria-label": `load of ${view.link} over time` });
    this.node = element("article", { "data-link": view.link },
      element("div", { class: "head" }, this.name, this.kind, this.feed), this.state, this.figures, chart);
    $("links").append(this.node);
    this.chart = new LinkChart(chart, enterMark);
  }

  show(view) {
    const down = view.window && !view.window.up;
    this.kind.textContent = `${view.kind}, ${view.capacity_bps / 1e9} Gb/s`;
    this.feed.textContent = down ? "down" : view.feed;
    this.feed.title = FEEDS[view.feed];
    this.feed.className = `badge feed-${down ? "down" : view.feed}`;
    this.node.dataset.feed = view.feed;
    this.node.dataset.state = view.congestion ? "congested" : "calm";
    this.state.textContent = view.congestion ? `congested since ${time(view.congestion.since)} UTC` : "";
    this.figures.replaceChildren(...(view.window ? figures(view.window) : []));
  }
}

function figures(window) {
  const shown = {
    carried: window.carried_bps, dropped: window.dropped_bps, natural: window.natural_bps,
    "moved in": window.moved_in_bps, "moved out": window.moved_out_bps,
  };
  return Object.entries(shown).map(([name, bps]) => element("div", { class: name.replace(" ", "-") },
    element("dt", {}, name),
    element("dd", {}, `${gbps(bps)} Gb/s`, element("small", {}, percent(bps / window.capacity_bps)))));
}

function begin(update) {
  cards.forEach((card) => { card.chart.end(); card.node.remove(); });
  cards = new Map();
  events = new Map();
  enterMark = update.enter_mark;
  $("pop").replaceChildren(...update.pops.map((name) => new Option(name, name, false, name === update.pop)));
  showOverrides(null);
}

function take(update) {
  heardAt = Date.now();
  if (update.full) begin(update);
  $("clock").textContent = `${update.now.slice(0, 10)} ${time(update.now)} UTC`;
  for (const view of update.links ?? []) {
    if (!cards.has(view.link)) cards.set(view.link, new Card(view));
    cards.get(view.link).show(view);
  }
  if (update.links) showSum(update.links);
  const windows = update.windows ?? {}, truth = update.truth ?? {};
  for (const link of new Set([...Object.keys(windows), ...Object.keys(truth)])) {
    cards.get(link)?.chart.add(windows[link] ?? [], truth[link] ?? []);
  }
  if (Object.keys(truth).length) document.querySelectorAll("li.truth").forEach((item) => { item.hidden = false; });
  if (update.overrides) showOverrides(update.overrides);
  if (update.events?.length || update.full) showEvents(update.events ?? []);
}

function showSum(links) {
  const windows = links.map((view) => view.window).filter(Boolean);
  const total = (name) => gbps(windows.reduce((sum, window) => sum + window[name], 0));
  $("sum").textContent = windows.length
    ? `${total("carried_bps")} Gb/s carried, ${total("dropped_bps")} Gb/s dropped on ${links.length} links` : "";
}

function showOverrides(view) {
  const rows = (view?.overrides ?? []).map(({ override, routers }) => {
    const natural = override.natural.map((exit) => `${short(exit.link)} (${percent(exit.share)})`);
    const states = override.inject_on.map((router) => `${router} ${routers[router] ?? "not yet announced"}`);
    return element("tr", { "data-prefix": override.prefix },
      element("td", { class: "prefix" }, override.prefix),
      element("td", { class: "number" }, gbps(override.bps)),
      element("td", {}, short(override.exit.link)),
      element("td", {}, override.exit.next_hop),
      element("td", {}, [...new Set(natural)].join(", ")),
      element("td", {}, states.join(", ")),
      element("td", {}, override.reason));
  });
  const moved = (view?.overrides ?? []).reduce((sum, { override }) => sum + override.bps, 0);
  $("overrides").tBodies[0].replaceChildren(...rows);
  $("overrides").hidden = !rows.length;
  $("overrides-count").textContent = view ? `${rows.length}, ${gbps(moved)} Gb/s` : "";
  $("overrides-about").textContent = view
    ? `${rows.length ? "" : "Every prefix leaves where BGP puts it. "}Decided at ${time(view.made_at)} UTC from the ` +
      `window of ${time(view.window_start)} UTC; held until ${time(view.hold_until)} UTC without another decision.`
    : "No decision yet.";
  $("mode").hidden = !view;
  $("mode").textContent = view ? `mode ${view.mode}` : "";
}

// "pop/router/name", and names hold slashes themselves: et-0/0/1.
function short(link) {
  const [, router, ...name] = link.split("/");
  return `${router} ${name.join("/")}`;
}

function showEvents(added) {
  for (const event of added) events.set(event.id, event);
  const newest = [...events.values()].sort((a, b) => new Date(b.at) - new Date(a.at)).slice(0, EVENTS_SHOWN);
  events = new Map(newest.map((event) => [event.id, event]));
  $("events").tBodies[0].replaceChildren(...newest.map((event) => element("tr", {},
    element("td", { class: "time" }, time(event.at)),
    element("td", {}, element("span", { class: `badge kind-${event.kind}` }, event.kind)),
    element("td", {}, event.text))));
}

function showConnection() {
  const stale = Date.now() - heardAt > STALE_MS;
  $("connection").textContent = stale ? "connection lost, retrying" : "connected";
  $("connection").className = `badge ${stale ? "lost" : "connected"}`;
  document.body.classList.toggle("stale", stale);
}

$("pop").addEventListener("change", () => { location.search = `?pop=${encodeURIComponent($("pop").value)}`; });
const stream = new EventSource(`/events${pop ? `?pop=${encodeURIComponent(pop)}` : ""}`);
stream.onmessage = (message) => { take(JSON.parse(message.data)); showConnection(); };
setInterval(showConnection, 1000);
