// The chart of one link: loads in % of capacity over time in UTC, with the truth if the PoP is simulated.

import { element, shareOf, utc } from "/static/text.js";

const HISTORY_S = 1800;
const SHOWN_AT_LEAST_S = 300;
const HEIGHT = 128;
const FONT = "11px system-ui, sans-serif";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// Each window is drawn as a step that ends at its point.
const stepped = uPlot.paths.stepped({ align: -1 });

function series(label, color, options) {
  return { label, stroke: () => css(color), width: 2, points: { show: false }, ...options };
}

// Drops are drawn between carried and offered, on top of what got through.
// The truth lies underneath, so an exact estimate covers it.
const SERIES = [
  {},
  series("true carried", "--truth-carried", { width: 3 }),
  series("true natural", "--truth-natural", { width: 3 }),
  series("offered", "--dropped", { paths: stepped, width: 1 }),
  series("carried", "--carried", { paths: stepped, fill: () => css("--carried-fill") }),
  series("natural", "--natural", { paths: stepped, dash: [6, 4] }),
];
const BANDS = [{ series: [3, 4], fill: () => css("--dropped-fill") }];

function axis(options) {
  return { stroke: () => css("--axis"), font: FONT, grid: { stroke: () => css("--grid"), width: 1 }, ticks: { show: false },
    ...options };
}

export class LinkChart {
  constructor(place, enterMark) {
    this.place = place;
    this.enterMark = enterMark;
    this.windows = [];
    this.truth = [];
    this.awaited = element("p", { class: "awaited" }, "Waiting for the first window of this link.");
    this.readout = element("p", { class: "at", hidden: "" });
    this.plot = new uPlot(this.options(), [[], [], [], [], [], []], place);
    place.append(this.awaited, this.readout);
    this.resizing = new ResizeObserver(() => this.plot.setSize({ width: place.clientWidth, height: HEIGHT }));
    this.resizing.observe(place);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.recolour = () => this.plot.redraw();
    this.scheme.addEventListener("change", this.recolour);
  }

  options() {
    return {
      width: this.place.clientWidth || 400,
      height: HEIGHT,
      padding: [4, 6, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { sync: { key: "links" }, y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => this.shown() },
        y: { range: (_, low, high) => [0, Math.max(108, (high || 0) * 1.05)] },
      },
      axes: [
        axis({ values: (_, ticks) => ticks.map((s) => utc(new Date(s * 1000)).slice(0, 5)), size: 20, space: 60 }),
        axis({ values: (_, ticks) => ticks.map((share) => `${share} %`), incrs: [25, 50, 100, 200, 500], space: 26, size: 42 }),
      ],
      series: SERIES,
      bands: BANDS,
      hooks: { drawAxes: [(plot) => this.limits(plot)], setCursor: [(plot) => this.read(plot.cursor.idx)] },
    };
  }

  limits(plot) {
    const { left, width } = plot.bbox, pixel = devicePixelRatio;
    plot.ctx.save();
    plot.ctx.strokeStyle = css("--axis");
    plot.ctx.lineWidth = pixel;
    for (const [share, dash] of [[100, []], [100 * this.enterMark, [3 * pixel, 3 * pixel]]]) {
      const y = Math.round(plot.valToPos(share, "y", true)) + 0.5;
      plot.ctx.setLineDash(dash);
      plot.ctx.beginPath();
      plot.ctx.moveTo(left, y);
      plot.ctx.lineTo(left + width, y);
      plot.ctx.stroke();
    }
    plot.ctx.restore();
  }

  // Shows the window under the pointer, in all charts at once.
  read(index) {
    const at = index === null || index === undefined ? undefined : this.plot.data[0][index];
    const window = at === undefined ? undefined : this.windows.find((point) => point[0] >= at);
    this.readout.hidden = !window;
    if (!window) return;
    const [end, capacity, carried, dropped, natural] = window;
    const loads = Object.entries({ carried, dropped, natural }).map(([name, bps]) => `${name} ${shareOf(bps, capacity)}`);
    this.readout.textContent = `${utc(new Date(end * 1000))}  ${loads.join("  ")}`;
  }

  shown() {
    const begins = [...this.windows.slice(0, 1), ...this.truth.slice(0, 1)].map((point) => point[0]);
    const ends = [...this.windows.slice(-1), ...this.truth.slice(-1)].map((point) => point[0]);
    const end = ends.length ? Math.max(...ends) : Date.now() / 1000;
    const begin = begins.length ? Math.max(Math.min(...begins) - 10, end - HISTORY_S) : end;
    return [Math.min(begin, end - SHOWN_AT_LEAST_S), end];
  }

  add(windows, truth, capacityBps) {
    append(this.windows, windows);
    append(this.truth, truth);
    this.awaited.hidden = this.windows.length > 0;
    this.draw(capacityBps);
  }

  draw(capacityBps) {
    const rows = withGaps(this.windows);
    const column = (...loads) => rows.map((row) => (
      !row[1] || loads.some((load) => row[load] === null) ? null : (100 * loads.reduce((sum, load) => sum + row[load], 0)) / row[1]));
    const estimate = [rows.map((row) => row[0]), column(2, 3), column(2), column(4)];
    const real = (index) => this.truth.map((row) => capacityBps && (100 * row[index]) / capacityBps);
    const truth = [this.truth.map((row) => row[0]), real(1), real(3)];
    this.plot.setData(truth[0].length ? uPlot.join([truth, estimate]) : [estimate[0], [], [], ...estimate.slice(1)]);
  }

  end() {
    this.resizing.disconnect();
    this.scheme.removeEventListener("change", this.recolour);
    this.plot.destroy();
  }
}

// Points arrive in order; one that is not newer than the last is a repeat.
function append(known, points) {
  for (const point of points) {
    if (!known.length || point[0] > known.at(-1)[0]) known.push(point);
  }
  while (known.length && known[0][0] < known.at(-1)[0] - HISTORY_S) known.shift();
}

// If a window is missing the line breaks: silence is not zero.
function withGaps(windows) {
  const steps = windows.slice(1).map((point, index) => point[0] - windows[index][0]);
  const length = Math.min(...steps);
  return windows.flatMap((point, index) =>
    index && steps[index - 1] > 1.5 * length ? [[point[0] - length, null, null, null, null], point] : [point]);
}
