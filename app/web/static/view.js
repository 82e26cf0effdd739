// The page follows the stream of updates of one PoP. The stream begins with a whole snapshot, also after a reconnect.

import { Card } from "/static/card.js";
import { showEvents, showOverrides } from "/static/lists.js";
import { showNotices, showParts } from "/static/parts.js";
import { bits, lasting, percent, sumOf, time } from "/static/text.js";

const EVENTS_MAX = 1000;
const STALE_MS = 5000;
const RETRY_MS = 3000;
const $ = (id) => document.getElementById(id);

const pop = new URLSearchParams(location.search).get("pop");
let page = {};
let cards = new Map();
let events = new Map();
let heardAt = 0;
const openedAt = Date.now();

function begin(update) {
  cards.forEach((card) => { card.chart.end(); card.node.remove(); });
  cards = new Map();
  events = new Map();
  page = { enterMark: update.enter_mark, mismatchMax: update.mismatch_max ?? 0, overrides: null };
  $("pop").replaceChildren(...update.pops.map((name) => new Option(name, name, false, name === update.pop)));
  document.title = `${update.pop}: egress-autopilot`;
}

function take(update) {
  heardAt = Date.now();
  if (update.full) begin(update);
  page.now = Date.parse(update.now) / 1000;
  $("clock").textContent = `${update.now.slice(0, 10)} ${time(update.now)} UTC`;
  if (update.state) page.state = update.state;
  if (update.overrides) page.overrides = update.overrides;
  if (update.links) page.links = update.links;
  for (const view of update.links ?? []) {
    if (!cards.has(view.link)) cards.set(view.link, new Card(view, page.enterMark));
    cards.get(view.link).show(view, page.now);
  }
  draw(update.windows ?? {}, update.truth ?? {});
  if (update.overrides || update.state || update.full) showOverrides(page.overrides, page.state.halted);
  for (const event of update.events ?? []) events.set(event.id, event);
  if (update.events?.length || update.full) listEvents();
  cards.forEach((card) => card.age(page.now));
  showHead();
  showSums();
  showNotices(page.state, page.mismatchMax);
  showParts(page.state.components, page.now);
}

function draw(windows, truth) {
  for (const link of new Set([...Object.keys(windows), ...Object.keys(truth)])) {
    const card = cards.get(link);
    card?.chart.add(windows[link] ?? [], truth[link] ?? [], card.view.capacity_bps);
  }
  if (Object.keys(truth).length) document.querySelectorAll("li.truth").forEach((item) => { item.hidden = false; });
}

function listEvents() {
  events = new Map([...events].slice(-EVENTS_MAX));
  showEvents(events.values());
}

function showHead() {
  const { overrides, state } = page;
  $("mode").hidden = !overrides;
  const announces = overrides?.mode === "auto";
  $("mode").textContent = overrides ? `mode ${overrides.mode}${announces ? "" : ": no override is announced"}` : "";
  $("mode").className = `badge ${announces ? "" : "dry"}`;
  $("halted").hidden = !state.halted;
}

function showSums() {
  const heard = page.links.some((view) => view.window);
  const carried = sumOf(page.links, "carried_bps"), dropped = sumOf(page.links, "dropped_bps");
  const congested = page.links.filter((view) => view.congestion).length;
  const { egress_mismatch_share: mismatch, told_until: until, quiet } = page.state;
  const overrides = page.overrides?.overrides ?? [];
  const moved = overrides.reduce((sum, { override }) => sum + override.bps, 0);
  figure("carried", heard && carried.text);
  figure("dropped", heard && dropped.text, dropped.total > 0);
  figure("congested", page.overrides && `${congested} of ${page.links.length}`, congested > 0);
  figure("overrides", page.overrides && (overrides.length ? `${overrides.length}, ${bits(moved)}` : "none"));
  figure("mismatch", page.overrides && `${mismatch === null ? "unknown" : percent(mismatch)} (limit ${percent(page.mismatchMax)})`, Boolean(page.state.barred));
  figure("window", until && `${lasting(page.now - Date.parse(until) / 1000)} ago`, quiet);
}

function figure(name, text, bad = false) {
  $(`sum-${name}`).textContent = text || "\u2013";
  $(`sum-${name}`).classList.toggle("bad", Boolean(text) && bad);
}

function showConnection() {
  const stale = Date.now() - (heardAt || openedAt) > STALE_MS;
  const text = stale ? "connection lost, retrying" : heardAt ? "connected" : "connecting";
  if ($("connection").textContent !== text) $("connection").textContent = text;
  $("connection").className = `badge ${stale ? "alarm" : "good"}`;
  document.body.classList.toggle("stale", stale);
}

$("pop").addEventListener("change", () => { location.search = `?pop=${encodeURIComponent($("pop").value)}`; });

// The browser connects again by itself unless the answer was not a stream: then whoever gave it has to be asked.
function follow() {
  const stream = new EventSource(`/events${pop ? `?pop=${encodeURIComponent(pop)}` : ""}`);
  stream.onmessage = (message) => { take(JSON.parse(message.data)); showConnection(); };
  stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) setTimeout(retry, RETRY_MS); };
}

async function retry() {
  const answer = await fetch("/api/user", { redirect: "manual" }).catch(() => null);
  const refused = answer && (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403);
  if (refused) location.reload(); // a proxy wants a login, or says why not
  else follow();
}

follow();
setInterval(showConnection, 1000);
fetch("/api/user").then((answer) => answer.json()).then(({ user }) => {
  $("user").textContent = user;
  $("user").hidden = !user;
});
