// How the page writes numbers, times and names, and how it creates elements.

const pad = (number) => String(number).padStart(2, "0");
export const utc = (date) => `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;
export const time = (iso) => utc(new Date(iso));
export const percent = (share) => `${(100 * share).toFixed(share < 0.9995 ? 1 : 0)} %`;
export const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : noun.endsWith("x") ? "es" : "s"}`;

export function bits(bps) {
  if (bps < 1e6) return "0 Gb/s";
  if (bps < 1e8) return `${(bps / 1e6).toFixed(0)} Mb/s`;
  return `${(bps / 1e9).toFixed(bps < 1e10 ? 2 : bps < 1e11 ? 1 : 0)} Gb/s`;
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
