// Small plots as SVG, each with a name for screen readers, and saved as PNG or SVG.
import { at, colour, read } from "./colours.js";
import { download, h, s } from "./dom.js";
import { clock } from "./format.js";

const INHERITED = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "font-size",
  "font-family",
  "font-weight",
  "opacity",
  "text-anchor",
];

/** Frame a plot with its title and buttons that save it. */
export function framed(title, svg, name, ...more) {
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  const save = (kind) =>
    h("button", {
      type: "button",
      class: "quiet small",
      "aria-label": `Save ${title} as ${kind}`,
      onclick: () => store(svg, name, kind),
    }, kind);
  return h(
    "figure",
    { class: "plot" },
    h("figcaption", {}, h("span", {}, title), h("span", {}, save("PNG"), save("SVG"))),
    svg,
    ...more,
  );
}

/** A copy of a plot that needs no style sheet. */
function standalone(svg) {
  const copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")];
  const to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((node, index) => {
    const style = getComputedStyle(node);
    for (const name of INHERITED) to[index].setAttribute(name, style.getPropertyValue(name));
    to[index].removeAttribute("class");
  });
  const box = svg.viewBox.baseVal;
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  copy.insertBefore(s("rect", { width: box.width, height: box.height, fill: read("--card") }), copy.firstChild);
  return new XMLSerializer().serializeToString(copy);
}

async function store(svg, name, kind) {
  const text = standalone(svg);
  if (kind === "SVG") return download(`${name}.svg`, text, "image/svg+xml");
  const box = svg.viewBox.baseVal;
  const image = new Image();
  const loaded = new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = reject;
  });
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await loaded;
  const canvas = h("canvas", { width: box.width * 2, height: box.height * 2 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => download(`${name}.png`, blob), "image/png");
}

/** Round steps for an axis from 0 to most. */
export function steps(most, wanted = 4) {
  if (!(most > 0)) return [0];
  const rough = most / wanted;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((value) => value >= rough);
  const found = [];
  for (let value = 0; value <= most * 1.0001; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

export function words(value) {
  return value >= 1000 ? `${Number((value / 1000).toPrecision(3))}k` : String(Number(value.toPrecision(3)));
}

/** Use of the last ten minutes: how many slots there are and how many work. */
export function use(samples, time, height = 150, room = 640) {
  const width = Math.max(280, Math.min(640, room || 640)), left = 40, bottom = 22, span = 600;
  const most = Math.max(1, ...samples.map((row) => row[1]));
  const x = (when) => left + (width - left - 6) * (1 - (time - when) / span);
  const y = (value) => 8 + (height - bottom - 8) * (1 - value / most);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "use" });
  for (const value of steps(most, 3)) {
    svg.append(s("line", { class: "grid", x1: left, x2: width - 6, y1: y(value), y2: y(value) }));
    svg.append(s("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, words(value)));
  }
  for (const minutes of width < 440 ? [10, 5, 0] : [10, 8, 6, 4, 2, 0]) {
    svg.append(
      s("text", {
        class: "tick",
        x: x(time - minutes * 60),
        y: height - 5,
        "text-anchor": minutes === 10 ? "start" : minutes ? "middle" : "end",
      }, minutes ? `−${minutes} min` : "now"),
    );
  }
  const rows = samples.filter((row) => time - row[0] <= span);
  if (rows.length > 1) {
    const line = (at) =>
      rows.map((row, index) =>
        (index ? `H${x(row[0]).toFixed(1)}V` : `M${x(row[0]).toFixed(1)} `) + y(row[at]).toFixed(1)
      ).join("");
    const end = x(rows.at(-1)[0]).toFixed(1);
    svg.append(s("path", { class: "slots", d: line(1) }));
    svg.append(s("path", { class: "busy-area", d: `${line(2)}V${y(0)}H${x(rows[0][0]).toFixed(1)}Z` }));
    svg.append(
      s("path", { class: "busy", d: line(2) }),
      s("circle", { class: "head", cx: end, cy: y(rows.at(-1)[2]), r: 3.5 }),
    );
  }
  return svg;
}

/** Give jobs that overlap rows of their own: no more than there are slots, where known; clocks are not exact. */
export function lanes(pieces, most = Infinity) {
  const ends = [];
  return [...pieces].sort((a, b) => a[0] - b[0]).map((piece) => {
    let lane = ends.findIndex((end) => end <= piece[0] + 2e-3);
    if (lane < 0) lane = ends.length < most ? ends.push(0) - 1 : ends.indexOf(Math.min(...ends));
    ends[lane] = piece[0] + piece[1];
    return [lane, piece];
  });
}

/** Who did what and when: jobs one by one while they are few, else how busy each worker was. */
export function timeline(run, story, slotsOf, { width: room = 900, lost = [], from = null, to = null } = {}) {
  const began = (story.first ?? story.began) - story.began;
  const first = from ?? began;
  const last = to ?? Math.max((story.last ?? story.began) - story.began, first + 0.001);
  const names = [...story.workers.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const width = Math.max(300, Math.min(1400, room || 900)), left = width < 560 ? 84 : 150, right = 14;
  const letters = Math.floor((left - 10) / 7.4);
  const x = (offset) => left + (width - left - right) * Math.max(0, Math.min(1, (offset - first) / (last - first)));
  const svg = s("svg", { class: "timeline" });
  svg.__time = (event) => {
    const box = svg.getBoundingClientRect();
    const share = ((event.clientX - box.left) * width / box.width - left) / (width - left - right);
    return first + (last - first) * Math.max(0, Math.min(1, share));
  };
  const guide = s("g"), marks = s("g");
  let top = 10;
  for (const name of names) {
    const all = story.is_few ? lanes(story.pieces.filter((piece) => piece[2] === name), slotsOf(name)) : [];
    const mine = all.filter(([, piece]) => piece[0] <= last && piece[0] + piece[1] >= first);
    const height = story.is_few ? Math.max(1, ...all.map(([lane]) => lane + 1)) * 16 : 26;
    guide.append(s("rect", { class: "track", x: left, y: top, width: width - left - right, height, rx: 3 }));
    guide.append(
      s(
        "text",
        { class: "name", x: left - 8, y: top + Math.min(height, 26) / 2 + 4, "text-anchor": "end" },
        name.length > letters ? `${name.slice(0, letters - 1)}…` : name,
        s("title", {}, name),
      ),
    );
    for (const [lane, piece] of mine) {
      const [start, seconds, , , outcome, jobs] = piece;
      marks.append(
        s(
          "rect",
          {
            class: `job ${outcome}`,
            x: x(start),
            y: top + lane * 16 + 2,
            width: Math.max(1.5, x(start + seconds) - x(start) - 0.5),
            height: 12,
            rx: 2,
            fill: outcome === "ok" ? colour(run, piece[3]) : null,
          },
          s(
            "title",
            {},
            `${piece[3]} on ${name}${jobs > 1 ? ` (${jobs} jobs)` : ""}: ${seconds.toFixed(3)} s, ${outcome}`,
          ),
        ),
      );
    }
    if (!story.is_few) {
      for (const [worker, place, jobs, failed, busy] of story.buckets.values()) {
        if (worker !== name) continue;
        if (place * story.width_s > last || (place + 1) * story.width_s < first) continue;
        const share = Math.min(1, busy / (story.width_s * Math.max(1, slotsOf(name) ?? 1)));
        const begin = Math.max(place * story.width_s, first), end = Math.min((place + 1) * story.width_s, last);
        marks.append(
          s(
            "rect",
            {
              class: failed ? "sum failed" : "sum",
              x: x(begin),
              y: top + height * (1 - share),
              width: Math.max(1, x(end) - x(begin) - 0.4),
              height: height * share,
            },
            s(
              "title",
              {},
              `${name}: ${Math.round(jobs)} jobs in ${story.width_s} s, ${Math.round(share * 100)} % busy${
                failed ? `, ${failed} failed` : ""
              }`,
            ),
          ),
        );
      }
    }
    for (const event of lost.filter((event) => event.name === name)) {
      const at = x(event.at - story.began);
      marks.append(
        s(
          "line",
          { class: "lost", x1: at, x2: at, y1: top - 2, y2: top + height + 2 },
          s("title", {}, `${name} was lost here`),
        ),
      );
      marks.append(
        s("text", {
          class: "lost",
          x: at + (at > width / 2 ? -5 : 5),
          y: top + Math.min(height, 26) / 2 + 4,
          "text-anchor": at > width / 2 ? "end" : "start",
        }, "lost here"),
      );
    }
    top += height + 6;
  }
  for (const value of steps(last - first, width < 560 ? 3 : 6)) {
    const at = x(first + value), anchor = at > width - 40 ? "end" : "middle";
    guide.append(s("line", { class: "grid", x1: at, x2: at, y1: 4, y2: top }));
    guide.append(
      s(
        "text",
        { class: "tick", x: at + (anchor === "end" ? right - 2 : 0), y: top + 14, "text-anchor": anchor },
        `${words(first - began + value)} s`,
      ),
    );
  }
  svg.append(guide, marks);
  svg.setAttribute("viewBox", `0 0 ${width} ${top + 22}`);
  return svg;
}

/** Speed-up over slots, each point one run; the line is what would be possible. */
export function speedups(rows) {
  const width = 640, height = 340, left = 46, bottom = 40;
  const most = Math.max(2, ...rows.map((row) => row.slots), ...rows.map((row) => row.speedup)) * 1.1;
  const x = (value) => left + (width - left - 12) * value / most;
  const y = (value) => 10 + (height - bottom - 10) * (1 - value / most);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "speedups" });
  for (const value of steps(most, 5)) {
    svg.append(s("line", { class: "grid", x1: left, x2: width - 12, y1: y(value), y2: y(value) }));
    svg.append(
      s("text", { class: "tick", x: left - 7, y: y(value) + 4, "text-anchor": "end" }, words(value)),
      s("text", { class: "tick", x: x(value), y: height - bottom + 17, "text-anchor": "middle" }, words(value)),
    );
  }
  svg.append(s("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(most), y2: y(most) }));
  svg.append(s("text", { class: "tick", x: x(most * 0.72), y: y(most * 0.78), "text-anchor": "end" }, "possible"));
  svg.append(
    s("text", { class: "tick", x: (left + width) / 2, y: height - 5, "text-anchor": "middle" }, "slots"),
    s("text", { class: "tick", x: 4, y: 10 }, "× faster"),
  );
  const scripts = [...new Set(rows.map((row) => row.script))];
  rows.forEach((row) => {
    const place = scripts.indexOf(row.script);
    svg.append(
      s(
        "circle",
        { class: "point", cx: x(row.slots), cy: y(row.speedup), r: 6, fill: at(place) },
        s("title", {}, `${row.script}: ${row.speedup.toFixed(2)} times faster with ${row.slots} slots`),
      ),
    );
    svg.append(s("text", { class: "tick", x: x(row.slots) + 10, y: y(row.speedup) + 4 }, row.script ?? ""));
  });
  return svg;
}

/** Load and used memory of one worker over time, in percent; rows are [epoch seconds, load, memory]. */
export function course(rows, from, to) {
  const width = 330, height = 110, left = 46, bottom = 20, right = 8;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "use course" });
  const x = (when) => left + (width - left - right) * Math.max(0, Math.min(1, (when - from) / Math.max(to - from, 1)));
  const y = (value) => 8 + (height - bottom - 8) * (1 - value / 100);
  for (const value of [0, 50, 100]) {
    svg.append(
      s("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${value} %`),
    );
  }
  for (const [at, name] of [[2, "memory"], [1, "load"]]) {
    const known = rows.filter((row) => row[at] !== null);
    if (known.length > 1) {
      svg.append(s("path", {
        class: name,
        d: known.map((row, index) => `${index ? "L" : "M"}${x(row[0]).toFixed(1)} ${y(row[at]).toFixed(1)}`).join(""),
      }));
    }
    for (const row of known) {
      svg.append(
        s(
          "circle",
          { class: name, cx: x(row[0]), cy: y(row[at]), r: known.length > 40 ? 1 : 2.2 },
          s("title", {}, `${name} ${row[at]} %`),
        ),
      );
    }
  }
  for (const [when, anchor, place] of [[from, "start", left], [to, "end", width - right]]) {
    svg.append(s("text", { class: "tick", x: place, y: height - 4, "text-anchor": anchor }, clock(when)));
  }
  return svg;
}

/** What the lines of a course mean. */
export function courseKey() {
  return h(
    "ul",
    { class: "chips" },
    ["load", "memory"].map((name) =>
      h(
        "li",
        { class: "chip" },
        h("i", { class: `dot course-${name}` }),
        name === "load" ? "load of its cores" : "memory in use",
      )
    ),
  );
}

/** One line of a number over time. */
export function line(rows, unit) {
  const width = 640, height = 120, left = 44, bottom = 20;
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, class: "use" });
  if (rows.length < 2) return svg;
  const from = rows[0][0], to = rows.at(-1)[0], most = Math.max(...rows.map((row) => row[1])) * 1.05 || 1;
  const x = (when) => left + (width - left - 6) * (when - from) / Math.max(to - from, 1);
  const y = (value) => 8 + (height - bottom - 8) * (1 - value / most);
  for (const value of steps(most, 3)) {
    svg.append(
      s("line", { class: "grid", x1: left, x2: width - 6, y1: y(value), y2: y(value) }),
      s("text", { class: "tick", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${words(value)}${unit}`),
    );
  }
  svg.append(
    s("path", {
      class: "busy",
      d: rows.map((row, index) => `${index ? "L" : "M"}${x(row[0]).toFixed(1)} ${y(row[1]).toFixed(1)}`).join(""),
    }),
  );
  for (const [when, anchor] of [[from, "start"], [to, "end"]]) {
    svg.append(
      s(
        "text",
        { class: "tick", x: x(when), y: height - 4, "text-anchor": anchor },
        new Date(when * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" }),
      ),
    );
  }
  return svg;
}

/** A QR code from rows of 0 and 1. */
export function qr(rows) {
  const size = rows.length + 8;
  const path = rows.map((row, y) =>
    [...row].map((cell, x) => (cell === "1" ? `M${x + 4} ${y + 4}h1v1h-1z` : "")).join("")
  ).join("");
  return s(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, class: "qr", role: "img", "aria-label": "QR code of the line" },
    s("rect", { width: size, height: size, fill: "#fff" }),
    s("path", { d: path, fill: "#000" }),
  );
}
