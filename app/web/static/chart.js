// One chart a link: loads in Gb/s over time in UTC, with the truth of a simulated PoP where there is one.

const GIGA = 1e9;
const HISTORY_S = 1800;
const SHOWN_AT_LEAST_S = 300;
const HEIGHT = 170;
// Okabe and Ito's palette, told apart by dashes as well.
const BLUE = "#0072b2", VERMILION = "#d55e00", PURPLE = "#aa4499", SKY = "#56b4e9", PINK = "#e5a3c6", GREY = "#555555";

const pad = (number) => String(number).padStart(2, "0");
export const utc = (date) => `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;

// A window is a step that ends at its point.
const stepped = uPlot.paths.stepped({ align: -1 });

function series(label, stroke, options) {
  return { label, stroke, width: 2, points: { show: false }, ...options };
}

const SERIES = [
  {},
  series("really carried", SKY, { width: 1 }),
  series("really natural", PINK, { width: 1 }),
  series("natural", PURPLE, { paths: stepped, dash: [6, 4] }),
  series("carried", BLUE, { paths: stepped, fill: "#0072b21a" }),
  series("dropped", VERMILION, { paths: stepped, fill: "#d55e0066" }),
  series("capacity", GREY, { width: 1.5, paths: stepped }),
  series("mark", GREY, { width: 1, paths: stepped, dash: [2, 4] }),
];

function axis(options) {
  return { stroke: "#555555", font: "11px system-ui, sans-serif", grid: { stroke: "#00000012" }, ...options };
}

export class LinkChart {
  constructor(element, enterMark) {
    this.element = element;
    this.enterMark = enterMark;
    this.windows = [];
    this.truth = [];
    this.plot = new uPlot(this.options(), [[], [], [], [], [], [], [], []], element);
    this.resizing = new ResizeObserver(() => this.plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    this.resizing.observe(element);
  }

  options() {
    return {
      width: this.element.clientWidth || 400,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      legend: { show: false },
      cursor: { sync: { key: "links" }, y: false, drag: { x: false, y: false } },
      scales: {
        x: { range: () => this.shown() },
        y: { range: (_, low, high) => [0, Math.max(high || 0, 0.001) * 1.06] },
      },
      axes: [
        axis({ values: (_, ticks) => ticks.map((s) => utc(new Date(s * 1000)).slice(0, 5)), size: 24, space: 50 }),
        axis({ values: (_, ticks) => ticks.map((gbps) => `${+gbps.toFixed(2)} Gb/s`), space: 32, size: 68 }),
      ],
      series: SERIES,
    };
  }

  shown() {
    const times = [...this.windows.slice(0, 1), ...this.truth.slice(0, 1)].map((point) => point[0]);
    const ends = [...this.windows.slice(-1), ...this.truth.slice(-1)].map((point) => point[0]);
    const end = ends.length ? Math.max(...ends) : Date.now() / 1000;
    const begin = times.length ? Math.max(Math.min(...times) - 10, end - HISTORY_S) : end;
    return [Math.min(begin, end - SHOWN_AT_LEAST_S), end];
  }

  add(windows, truth) {
    append(this.windows, windows);
    append(this.truth, truth);
    this.draw();
  }

  draw() {
    const column = (rows, index) => rows.map((row) => (row[index] === null ? null : row[index] / GIGA));
    const rows = withGaps(this.windows);
    const capacity = column(rows, 1);
    const mark = capacity.map((gbps) => gbps === null ? null : gbps * this.enterMark);
    const estimate = [rows.map((row) => row[0]), column(rows, 4), column(rows, 2), column(rows, 3), capacity, mark];
    const truth = [this.truth.map((row) => row[0]), column(this.truth, 1), column(this.truth, 3)];
    this.plot.setData(truth[0].length ? uPlot.join([truth, estimate]) : [estimate[0], [], [], ...estimate.slice(1)]);
  }

  end() {
    this.resizing.disconnect();
    this.plot.destroy();
  }
}

// Points come in order; one that is not newer than the last is a repeat.
function append(known, points) {
  for (const point of points) {
    if (!known.length || point[0] > known.at(-1)[0]) known.push(point);
  }
  while (known.length && known[0][0] < known.at(-1)[0] - HISTORY_S) known.shift();
}

// Where a window is missing the line breaks: silence is not zero.
function withGaps(windows) {
  const steps = windows.slice(1).map((point, index) => point[0] - windows[index][0]);
  const length = Math.min(...steps);
  return windows.flatMap((point, index) =>
    index && steps[index - 1] > 1.5 * length ? [[point[0] - length, null, null, null, null], point] : [point]);
}
