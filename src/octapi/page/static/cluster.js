// The cluster: what there is, what it does, and how it is.
import * as charts from "./charts.js";
import { colour, isDark, onTheme } from "./colours.js";
import { fill, h, keyed, progress, say, text } from "./dom.js";
import { bytes, clock, count, percent, plural, rate, short, span } from "./format.js";
import { Ring } from "./ring.js";
import { listen, now, state } from "./state.js";

const TOTALS = [
  ["workers", "workers", count],
  ["slots", "slots", count],
  ["rate", "jobs/s", rate],
  ["waiting", "waiting", short],
  ["done", "done", short],
  ["failed", "failed", short],
];

export function open(main, { projector }) {
  const canvas = h("canvas", { class: "ring", role: "img", "aria-label": "Workers around the master" });
  const numbers = h("dl", { class: "totals" });
  const figures = TOTALS.map(([key, name]) => {
    const value = h("dd");
    numbers.append(h("div", { class: `total ${key}` }, h("dt", {}, name), value));
    return value;
  });
  const now10 = h("div", { class: "card use-card" });
  const cards = h("ul", { class: "cards", "aria-label": "Workers" });
  const lost = h("ul", { class: "cards lost-cards", "aria-label": "Workers that went away" });
  const runs = h("ul", { class: "mini-runs", "aria-label": "Runs that go on" });
  const events = h("ol", { class: "events", "aria-label": "What happened last" });
  const empty = h("div", { class: "card empty" });
  const hero = h(
    "section",
    { class: "hero", "aria-label": "The cluster now" },
    h("div", { class: "card ring-card" }, canvas),
    h("div", { class: "hero-side" }, numbers, runs, now10),
  );
  const heading = h("h1", { class: "visually-hidden" }, "The cluster");
  if (projector) {
    const leave = h("button", {
      type: "button",
      class: "quiet leave",
      onclick: () => {
        location.hash = "#/";
      },
    }, "Leave projector (Esc)");
    fill(main, heading, empty, hero, leave);
  } else {fill(
      main,
      heading,
      empty,
      hero,
      h("section", { "aria-labelledby": "workers-title" }, h("h2", { id: "workers-title" }, "Workers"), cards, lost),
      h("section", { "aria-labelledby": "events-title" }, h("h2", { id: "events-title" }, "What happened"), events),
    );}
  const ring = new Ring(canvas);
  let drawnUse = 0;

  const update = (news) => {
    const rows = Object.values(state.workers).sort((a, b) =>
      a.name.localeCompare(b.name, undefined, { numeric: true })
    );
    const flashing = new Set(rows.length > 64 ? [] : news.flashes ?? []);
    const isEmpty = state.isKnown && rows.length === 0;
    empty.hidden = !isEmpty && state.isKnown;
    hero.hidden = isEmpty || !state.isKnown;
    if (empty.hidden === false) teach(empty);
    TOTALS.forEach(([key, , show], index) => text(figures[index], show(state.totals[key] ?? 0)));
    numbers.querySelector(".failed").classList.toggle("bad", state.totals.failed > 0);
    ring.update(rows, news.flashes ?? [], state.totals);
    canvas.setAttribute(
      "aria-label",
      `${plural(rows.length, "worker")} around the master; ${count(state.totals.busy ?? 0)} of ${
        count(state.totals.slots ?? 0)
      } slots work`,
    );
    keyed(
      runs,
      Object.values(state.runs).filter((row) => !row.ended).sort((a, b) => b.since - a.since).slice(
        0,
        projector ? 3 : 4,
      ),
      (row) => row.run,
      makeRun,
      updateRun,
    );
    if (!projector) {
      keyed(cards, rows, (row) => row.name, makeCard, (node, row) => updateCard(node, row, flashing.has(row.name)));
      keyed(
        lost,
        Object.values(state.lost),
        (row) => row.name,
        (row) =>
          h(
            "li",
            { class: "card worker lost" },
            h(
              "div",
              { class: "worker-head" },
              h("h3", { title: row.name }, row.name),
              h("span", { class: "muted where" }, row.address ?? ""),
            ),
            h("p", { class: "badge alarm" }),
          ),
        (node, row) =>
          text(
            node.querySelector(".badge"),
            `not here since ${clock(row.since)} (${
              span(Math.max(0, state.time - row.since)).replaceAll(" ", "\u00a0")
            })`,
          ),
      );
    }
    if (performance.now() - drawnUse > 1900 || news.full) {
      drawnUse = performance.now();
      drawUse(now10);
    }
    sayUse(now10); // more often than it is drawn: it stands beside the ring, which says the same
    if (!projector) showEvents(events);
    for (const event of news.events ?? []) {
      if (event.kind === "joined" || event.kind === "left") say(`${event.name} ${event.kind}`);
    }
  };
  update({ full: true });
  const stop = listen((news) => news.kind === "state" && update(news));
  onTheme(() => update({ full: true }));
  return () => {
    stop();
    ring.close();
  };
}

function drawUse(place) {
  const room = place.clientHeight - 70;
  const height = innerWidth > 860 && place.clientWidth > 200 && room > 90
    ? Math.max(120, Math.min(420, Math.round((640 * room) / (place.clientWidth - 34))))
    : 150;
  const svg = charts.use(state.samples, state.time, height, place.clientWidth);
  fill(place, charts.framed("Use of the last 10 minutes: slots that work, of those there are", svg, "use"));
}

function sayUse(place) {
  const busy = state.totals.slots ? state.totals.busy / state.totals.slots : 0;
  const words = place.querySelector("figcaption span");
  if (words) text(words, `Last 10 minutes · ${percent(busy)} busy now`);
}

function teach(place) {
  if (!state.isKnown) return fill(place, h("p", { class: "muted" }, "Waiting for the master …"));
  if (place.dataset.shown) return null;
  place.dataset.shown = "1";
  return fill(
    place,
    h("h2", {}, "No worker yet"),
    h("p", {}, "A worker is any device that offers its cores: a Raspberry Pi, a laptop, a server. Run this on one:"),
    h("pre", { class: "command" }, "octapi worker TOKEN"),
    h("p", {}, h("a", { href: "#/join", class: "button" }, "Make the line with its token")),
    h("p", { class: "muted" }, "The device appears here as soon as it has joined."),
  );
}

function makeRun(row) {
  const bar = h("div", { class: "bar" }, h("i"), h("b"), h("u"));
  const words = h("span", { class: "muted" });
  return h(
    "li",
    {},
    h(
      "a",
      { href: `#/runs/${encodeURIComponent(row.run)}`, class: "mini" },
      h("span", { class: "name" }, row.script || "script"),
      words,
      bar,
    ),
  );
}

function updateRun(node, row) {
  const running = row.functions?.[0] ?? "";
  progress(node.querySelector(".bar"), row);
  node.querySelector(".bar i").style.background = colour(row.run, running);
  text(
    node.querySelector(".muted"),
    `${short(row.finished)} of ${short(row.total)}${row.failed ? ` · ${short(row.failed)} failed` : ""}${
      row.eta_s ? ` · ${span(row.eta_s)} left` : ""
    }`,
  );
}

function makeCard() {
  return h(
    "li",
    { class: "card worker" },
    h("div", { class: "worker-head" }, h("h3", {}, h("a")), h("span", { class: "muted where" })),
    h("div", { class: "lights" }),
    h("dl", { class: "gauges" }),
    h("ul", { class: "badges" }),
  );
}

/** Do something when a key has changed since the last time; hundreds of cards are looked at a few times a second. */
function when(node, name, key, action) {
  const seen = node.__seen ?? (node.__seen = {});
  if (seen[name] === key) return;
  seen[name] = key;
  action();
}

function updateCard(node, row, flashes) {
  if (flashes) {
    node.classList.toggle("flash-again", node.classList.contains("flash") && !node.classList.contains("flash-again"));
  }
  if (flashes) node.classList.add("flash");
  if (node.__row === row) return;
  node.__row = row;
  const link = node.querySelector("h3 a");
  text(link, row.name);
  link.href = `#/devices/${encodeURIComponent(row.name)}`;
  link.title = `${row.name}: load and memory over time`;
  text(node.querySelector(".where"), row.address ?? "");
  when(
    node,
    "lights",
    `${isDark()} ${row.slots} ${row.lights.map((light) => `${light[0]} ${light[1]}`).join("|")}`,
    () => showLights(node, row),
  );
  const health = row.health ?? {};
  when(
    node,
    "health",
    [health.cpu, health.memory, health.disk, health.temperature].join(),
    () => showGauges(node, row, health),
  );
  when(node, "badges", row.badges.map((badge) => badge[2]).join("|"), () => {
    keyed(node.querySelector(".badges"), row.badges, (badge) => badge[1], () => h("li"), (item, badge) => {
      item.className = `badge ${badge[0]}`;
      text(item, badge[2]);
    });
    node.classList.toggle("troubled", row.badges.some((badge) => badge[0] === "alarm"));
  });
}

function showLights(node, row) {
  const lights = node.querySelector(".lights");
  const most = Math.min(row.slots, 64);
  while (lights.childElementCount > most) lights.lastChild.remove();
  while (lights.childElementCount < most) lights.append(h("i", { class: "light" }));
  [...lights.children].forEach((light, index) => {
    const found = row.lights[index];
    light.classList.toggle("on", Boolean(found));
    light.style.background = found ? colour(found[0], found[1]) : "";
  });
  const names = [...new Set(row.lights.map((light) => light[1]))];
  lights.setAttribute("role", "img");
  lights.setAttribute(
    "aria-label",
    `${row.lights.length} of ${row.slots} slots work${names.length ? `: ${names.join(", ")}` : ""}`,
  );
  lights.title = names.join(", ");
}

function showGauges(node, row, health) {
  const gauges = [["load", health.cpu === undefined ? null : 1 - health.cpu / 100, percent], [
    "memory",
    row.memory && health.memory !== undefined ? 1 - health.memory / row.memory : null,
    percent,
  ]];
  if (health.temperature !== undefined) {
    gauges.push([
      "heat",
      Math.max(0, Math.min(1, (health.temperature - 20) / 70)),
      () => `${Math.round(health.temperature)} °C`,
    ]);
  }
  keyed(
    node.querySelector(".gauges"),
    gauges,
    (gauge) => gauge[0],
    ([name]) =>
      h(
        "div",
        { class: `gauge ${name}` },
        h("dt", {}, name),
        h("dd", {}, h("span", { class: "track" }, h("i")), h("b")),
      ),
    (gauge, [, share, show]) => {
      gauge.querySelector("i").style.transform = `scaleX(${Math.max(0, Math.min(1, share ?? 0)).toFixed(2)})`;
      text(gauge.querySelector("b"), share === null ? "–" : show(share));
    },
  );
  node.querySelector(".gauges").title = `${bytes(health.memory)} of memory and ${
    bytes(health.disk)
  } of disk free, Python ${row.python}, ${row.platform}`;
}

const WORDS = { joined: "joined", left: "left", began: "began", ended: "ended" };

function showEvents(place) {
  const rows = [...state.events].reverse().slice(0, 12);
  keyed(place, rows, (row) => row.number, (row) => {
    const isRun = row.kind === "began" || row.kind === "ended";
    const name = isRun
      ? h("a", { href: `#/runs/${encodeURIComponent(row.name)}` }, row.text || row.name)
      : h("b", {}, row.name);
    return h(
      "li",
      { class: row.kind },
      h("time", {}, clock(row.at)),
      " ",
      name,
      " ",
      WORDS[row.kind] ?? row.kind,
      row.kind === "joined" && row.text ? ` with ${row.text}` : "",
    );
  }, () => null);
  const nothing = place.querySelector(".nothing");
  if (rows.length) nothing?.remove();
  else if (!nothing) place.append(h("li", { class: "muted nothing" }, `Nothing since ${clock(now())}.`));
}
