// The card of one link: the state of its feed, its loads now, and its chart.

import { LinkChart } from "/static/chart.js";
import { badge, bits, element, lasting, shareOf, short, time } from "/static/text.js";

const KINDS = { pni: "PNI", ixp: "IXP", transit: "transit" };
const FEEDS = {
  live: "Flows and counters arrive and agree.",
  gap: "Flows or counters are missing, so the figures are incomplete.",
  untrusted: "Flows and counters contradict each other, or the interfaces have other numbers, so nothing is moved from or to this link.",
  silent: "Neither flows nor counters arrive; that does not mean that there is no traffic.",
};

export class Card {
  constructor(view, enterMark) {
    const name = short(view.link);
    this.name = name;
    this.kind = element("small");
    this.state = element("span", { class: "state" });
    this.feed = element("span");
    this.figures = element("dl", { class: "card-figures" });
    const place = element("div", { class: "chart", role: "img", "aria-label": `${name}: no data yet` });
    this.place = place;
    this.node = element("article", { "data-link": view.link, "aria-label": `link ${name}` },
      element("div", { class: "head" }, element("h3", {}, name), this.kind, this.state, this.feed), this.figures, place);
    document.getElementById("links").append(this.node);
    this.chart = new LinkChart(place, enterMark);
  }

  show(view, now) {
    this.view = view;
    this.kind.textContent = view.capacity_bps === null ? `${KINDS[view.kind]}, capacity unknown` : `${KINDS[view.kind]} ${view.capacity_bps / 1e9}G`;
    this.node.dataset.state = view.congestion ? "congested" : "calm";
    this.figures.replaceChildren(...(view.window ? figures(view.window) : []));
    if (view.window) this.place.setAttribute("aria-label", `${this.name}: ${describe(view.window)}`);
    this.age(now);
  }

  // Ages grow by themselves while no update arrives.
  age(now) {
    const since = this.view.congestion?.since;
    const congested = since ? `congested ${lasting(now - Date.parse(since) / 1000)}` : "";
    if (this.state.textContent !== congested) this.state.replaceChildren(...(since ? [badge("alarm", congested)] : []));
    const [state, text, title] = feedOf(this.view, now);
    this.node.dataset.feed = state;
    this.feed.className = `badge feed-${state} ${state === "quiet" || state === "down" ? "alarm" : ""}`;
    this.feed.title = title;
    if (this.feed.textContent !== text) this.feed.replaceChildren(element("i", { "aria-hidden": "true" }), text);
  }
}

export function endOf(window) {
  return Date.parse(window.window_start) / 1000 + window.window_s;
}

function feedOf(view, now) {
  if (!view.window) return ["awaited", "waiting for data", "No window of this link has been published yet."];
  if (view.quiet) return ["quiet", `no window for ${lasting(now - endOf(view.window))}`, "These loads are old. Is telemetry running?"];
  return view.window.up ? [view.feed, view.feed, FEEDS[view.feed]] : ["down", "down", "The interface is down."];
}

function figures(window) {
  const { capacity_bps: capacity, carried_bps: carried, dropped_bps: dropped, natural_bps: natural } = window;
  const moves = [["+", window.moved_in_bps], ["\u2212", window.moved_out_bps]];
  const moved = moves.filter(([, bps]) => bps >= 1).map(([sign, bps]) => `${sign}${bits(bps)}`).join(" ") ||
    (moves.some(([, bps]) => bps === null) ? "unknown" : "none");
  const figure = (name, kind, ...shown) => element("div", { class: kind }, element("dt", {}, name), element("dd", {}, ...shown));
  const load = (name, bps, kind = name) => (bps === null ? figure(name, "unknown", "unknown")
    : figure(name, kind, ...(capacity ? [`${shareOf(bps, capacity)} `, element("small", {}, bits(bps))] : [bits(bps)])));
  return [load("carried", carried), load("dropped", dropped, dropped > 0 ? "dropped some" : "dropped"),
    load("natural", natural), figure("moved here", "moved", moved)];
}

function describe(window) {
  if (window.feed === "silent") return "silent: its load is unknown";
  const share = (bps) => shareOf(bps, window.capacity_bps);
  return `carried ${share(window.carried_bps)}, dropped ${share(window.dropped_bps)}, natural ${share(window.natural_bps)}` +
    `${window.capacity_bps ? " of capacity" : ""} in the window that ended at ${time(endOf(window) * 1000)} UTC; before that, see the chart`;
}
