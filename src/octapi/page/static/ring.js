// The ring: the master in the middle, workers around it, their slots as lights.
// On a canvas, so that hundreds stay smooth.
import { colour, isDark, read } from "./colours.js";

const FLASH_MS = 650;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Ring {
  constructor(canvas) {
    this.canvas = canvas;
    this.workers = [];
    this.flashes = new Map();
    this.born = new Map();
    this.dying = new Map();
    this.frame = 0;
    this.until = 0;
    this.observer = new ResizeObserver(() => this.soon());
    this.observer.observe(canvas);
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.frame);
  }

  update(workers, flashes, totals) {
    const now = performance.now();
    const names = new Set(workers.map((row) => row.name));
    for (const row of this.workers) if (!names.has(row.name)) this.dying.set(row.name, [now, row]);
    for (const row of workers) {
      this.dying.delete(row.name);
      if (!this.born.has(row.name)) this.born.set(row.name, this.workers.length ? now : now - 1e6);
    }
    for (const name of this.born.keys()) if (!names.has(name)) this.born.delete(name);
    this.workers = workers;
    this.totals = totals;
    if (!calm.matches) { for (const name of flashes) this.flashes.set(name, now); }
    this.until = now + FLASH_MS + 50;
    this.soon();
  }

  soon() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const now = performance.now();
    const { canvas } = this;
    const scale = Math.min(devicePixelRatio || 1, 2);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const g = canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    this.paint(g, width, height, now);
    for (const [name, [then]] of this.dying) if (now - then > 1600) this.dying.delete(name);
    if ((now < this.until && !calm.matches) || this.dying.size) this.soon();
  }

  paint(g, width, height, now) {
    const ink = read("--ink"),
      muted = read("--muted"),
      track = read("--track"),
      line = read("--line"),
      accent = read("--accent"),
      bad = read("--alarm");
    const rows = [...this.workers, ...[...this.dying.values()].map(([, row]) => ({ ...row, isDying: true }))].sort((
      a,
      b,
    ) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    const heights = rows.map((_, index) => Math.sin(-Math.PI / 2 + (2 * Math.PI * index) / rows.length));
    const lean = rows.length > 2 ? (Math.max(...heights) + Math.min(...heights)) / 2 : 0;
    const small = Math.min(width, height);
    const count = Math.max(rows.length, 1);
    const showNames = count <= 48;
    const rings = Math.min(5, Math.ceil(count / 48));
    const most = count < 7 ? 0.13 : rings > 1 ? 0.3 / (rings * 2.4) : 0.085;
    const size = Math.max(4, Math.min(small * most, Math.PI * small * (rings > 1 ? 0.2 : 0.36) * rings / count));
    // few workers do not reach all around: what they leave is theirs, and a wide card has a wide ring
    const free = small / 2 - size * 1.15 - (showNames ? Math.max(20, size * 0.62) : 4);
    const outer = rows.length > 2
      ? free * Math.min(1.34, 2 / Math.max(0.1, Math.max(...heights) - Math.min(...heights)))
      : free;
    const middle = [width / 2, height / 2 - lean * outer];
    const stretch = rings > 1 ? 1 : Math.max(1, Math.min(1.6, (width / 2 - size * 1.9) / outer));
    g.lineCap = "round";
    g.textAlign = "center";
    g.textBaseline = "middle";
    rows.forEach((row, index) => {
      const angle = -Math.PI / 2 + (2 * Math.PI * index) / count;
      const reach = outer - (index % rings) * (outer - small * 0.16) / rings;
      const [dx, dy] = [reach * stretch * Math.cos(angle), reach * Math.sin(angle)];
      const far = Math.hypot(dx, dy) || 1, ux = dx / far, uy = dy / far;
      const [cx, cy] = [middle[0] + dx, middle[1] + dy];
      const age = (now - (this.born.get(row.name) ?? 0)) / 700;
      const grown = row.isDying || calm.matches ? 1 : Math.min(1, 1 - (1 - Math.min(age, 1)) ** 3);
      g.globalAlpha = row.isDying ? Math.max(0, 1 - (now - this.dying.get(row.name)[0]) / 1600) : grown;
      const flash = Math.max(0, 1 - (now - (this.flashes.get(row.name) ?? -1e6)) / FLASH_MS);
      const busy = row.lights.length;
      g.strokeStyle = busy ? colour(row.lights[0][0], row.lights[0][1]) : line;
      g.lineWidth = (busy ? 1.4 + flash * 2.2 : 1) / Math.min(rings, 2.5);
      const inner = small * 0.105;
      g.beginPath();
      g.moveTo(middle[0] + inner * ux, middle[1] + inner * uy);
      g.lineTo(cx - size * 0.95 * ux, cy - size * 0.95 * uy);
      g.stroke();
      if (flash > 0 && !row.isDying) {
        const travel = inner + (far - size - inner) * flash;
        g.fillStyle = g.strokeStyle;
        g.beginPath();
        g.arc(middle[0] + travel * ux, middle[1] + travel * uy, Math.max(rings > 1 ? 1.2 : 2.5, size * 0.16), 0, 7);
        g.fill();
      }
      this.worker(g, row, cx, cy, size * (0.6 + 0.4 * grown), flash, { track, bad, muted, ink });
      if (showNames) {
        g.fillStyle = row.isDying ? bad : ink;
        g.font = `${row.badges.length ? 600 : 500} ${Math.max(10, Math.min(30, size * 0.42))}px system-ui, sans-serif`;
        const below = cy + (Math.sin(angle) < -0.35 ? -1 : 1) * (size + Math.max(10, size * 0.34));
        g.fillText(shortened(g, row.name, Math.max(size * 3.1, 60)) + (row.isDying ? " left" : ""), cx, below);
      }
      g.globalAlpha = 1;
    });
    g.fillStyle = accent;
    g.beginPath();
    g.arc(middle[0], middle[1], small * 0.085, 0, 7);
    g.fill();
    g.fillStyle = isDark() ? "#06131b" : "#fff";
    g.font = `700 ${Math.max(12, small * 0.034)}px system-ui, sans-serif`;
    g.fillText(`${this.totals?.busy ?? 0}/${this.totals?.slots ?? 0}`, middle[0], middle[1] - small * 0.012);
    g.font = `500 ${Math.max(9, small * 0.018)}px system-ui, sans-serif`;
    g.fillText("slots busy", middle[0], middle[1] + small * 0.022);
  }

  worker(g, row, cx, cy, size, flash, ink) {
    if (flash > 0 && row.lights.length) {
      const before = g.globalAlpha;
      g.globalAlpha = before * flash * 0.35;
      g.fillStyle = colour(row.lights[0][0], row.lights[0][1]);
      g.beginPath();
      g.arc(cx, cy, size * 1.12, 0, 7);
      g.fill();
      g.globalAlpha = before;
    }
    const slots = Math.max(row.slots, 1);
    const gap = slots > 1 ? Math.min(0.16, 0.9 / slots) : 0;
    g.lineWidth = Math.max(2.5, size * 0.3);
    g.lineCap = "butt";
    for (let slot = 0; slot < Math.min(slots, 64); slot++) {
      const part = (2 * Math.PI) / Math.min(slots, 64);
      const light = row.lights[slot];
      g.strokeStyle = light ? colour(light[0], light[1]) : ink.track;
      g.beginPath();
      g.arc(cx, cy, size * 0.74, -Math.PI / 2 + slot * part + gap / 2, -Math.PI / 2 + (slot + 1) * part - gap / 2);
      g.stroke();
    }
    g.lineCap = "round";
    const alarm = row.badges.some((badge) => badge[0] === "alarm");
    g.fillStyle = row.badges.length ? (alarm ? ink.bad : ink.muted) : ink.ink;
    g.font = `700 ${Math.max(8, size * 0.52)}px system-ui, sans-serif`;
    if (size >= 9) g.fillText(row.badges.length ? "!" : String(row.lights.length || ""), cx, cy + 1);
  }
}

function shortened(g, name, width) {
  if (g.measureText(name).width <= width) return name;
  let words = name;
  while (words.length > 3 && g.measureText(`${words}…`).width > width) words = words.slice(0, -1);
  return `${words}…`;
}
