// What is wrong with the PoP, in sentences, and the state of every part that it needs.

import { badge, element, lasting, percent, time } from "/static/text.js";

const NOTICES_MAX = 40;
const $ = (id) => document.getElementById(id);

// What an operator must know before anything else comes first. Nodes stay while their text does.
export function showNotices(state, mismatchMax) {
  const shown = [...$("notices").children].map((item) => item.dataset.text);
  const items = noticesOf(state, mismatchMax);
  if (shown.join("\n") === items.map(([, kind, text]) => `${kind} ${text}`).join("\n")) return;
  $("notices").replaceChildren(...items.map(([tone, kind, text]) => element("li",
    { class: tone, "data-kind": kind, "data-text": `${kind} ${text}` }, ...(kind ? [badge("kind", kind), " "] : []), text)));
}

function noticesOf(state, mismatchMax) {
  const { halted, told_until: until, egress_mismatch_share: mismatch, barred, notices } = state, items = [];
  if (halted) {
    const subject = halted.pop === "*" ? "Every PoP" : "This PoP";
    items.push(["alarming", "halted", `${subject} was halted by ${halted.by} on ${halted.at.slice(0, 10)} at ${time(halted.at)}` +
      `${halted.reason ? ` (${halted.reason})` : ""}: ` +
      "no override is announced until it is resumed."]);
  }
  if (!until) {
    items.push(["calm", "", "Waiting for the first window. Telemetry publishes each window about 5 s after it ends."]);
  }
  if (barred) items.push(["alarming", "barred", `No new moves are made (${barred}): ${mismatch === null ? "an unknown share" : percent(mismatch)} of the traffic ` +
    `leaves where routing does not predict it; the limit is ${percent(mismatchMax)}.`]);
  items.push(...notices.slice(0, NOTICES_MAX).map(({ kind, where, text }) => ["alarming", kind, `${where}: ${text}`]));
  const more = notices.length - NOTICES_MAX;
  if (more > 0) items.push(["alarming", "more", `${more} more notices; autopilot check lists all of them.`]);
  return items;
}

const INPUTS = ["flows", "counters", "BMP"];

// One line for the parts of the whole PoP, and one for each router.
export function showParts(components, now) {
  const lines = new Map();
  for (const part of components) {
    const name = part.router ?? "PoP";
    if (!lines.has(name)) lines.set(name, []);
    lines.get(name).push(part);
  }
  const key = JSON.stringify([...lines].map(([name, parts]) => [name, parts.map((part) => textOf(part, now))]));
  if ($("parts").dataset.shown === key) return;
  $("parts").dataset.shown = key;
  $("parts").replaceChildren(...[...lines].map(([name, parts]) => element("li", {}, element("b", {}, name),
    ...parts.map((part) => element("span", { class: `badge part-${part.state}`, "data-part": `${name} ${part.name}`,
      title: part.at ? `last heard at ${time(part.at)} UTC` : "" }, element("i", { "aria-hidden": "true" }), textOf(part, now))))));
}

function textOf({ name, state, at }, now) {
  const age = at ? lasting(now - Date.parse(at) / 1000) : "", isInput = INPUTS.includes(name);
  if (state === "unknown") return `${name} unknown`;
  if (state === "up") return `${name} ${isInput ? age : "up"}`;
  // A router that refreshes its routes is heard, and yet they are doubtful.
  if (name === "BMP" && age) return `${name} doubtful, heard ${age} ago`;
  if (isInput) return `${name} ${age ? `silent ${age}` : "never heard"}`;
  return name === "injector" ? `${name} down` : `${name} down ${age}`;
}
