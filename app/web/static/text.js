// How the page writes numbers, times and names, and how it creates elements.

const pad = (number) => String(number).padStart(2, "0");
export const utc = (date) => `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;
export const time = (iso) => utc(new Date(iso));
export const percent = (share) => `${(100 * share).toFixed(share < 0.9995 ? 1 : 0)} %`;
// A load as a share of capacity; without a known capacity as a rate.
export const shareOf = (bps, capacity) => (bps === null || !capacity ? bits(bps) : percent(bps / capacity));
// The sum of what is known of a load, and of how many links that is.
export function sumOf(links, name) {
  const known = links.map(({ window }) => window?.[name] ?? null).filter((bps) => bps !== null);
  const total = known.reduce((sum, bps) => sum + bps, 0);
  if (!known.length) return { total, text: "unknown" };
  return { total, text: bits(total) + (known.length < links.length ? ` (${known.length} of ${links.length} links)` : "") };
}
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : noun.endsWith("x") ? "es" : "s"}`;

const UNITS = ["b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s"];

// Three digits in the unit that fits, as app/te/traffic/units.py writes them; what is unknown is not 0.
export function bits(bps) {
  if (bps === null) return "unknown";
  let value = bps, unit = 0;
  while (Math.abs(value) >= 999.5 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  const size = Math.abs(value);
  return `${value.toFixed(unit === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2)} ${UNITS[unit]}`;
}

export function lasting(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

// From "pop/router/name"; the name may hold slashes itself: et-0/0/1.
export function short(link) {
  const [, router, ...name] = link.split("/");
  return `${router} ${name.join("/")}`;
}

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const badge = (kind, ...children) => element("span", { class: `badge ${kind}` }, ...children);
