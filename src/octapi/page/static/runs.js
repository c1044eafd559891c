// Runs that go on, and those of days past: search, compare, and speed-up over slots.
import * as charts from "./charts.js";
import { fill, h, table } from "./dom.js";
import { count, moment, percent, span } from "./format.js";
import { get, listen } from "./state.js";

const STEP = 50;

export function open(main) {
  let rows = [], total = 0, start = 0, words = "", wanted = "";
  const chosen = new Set();
  const list = h("div");
  const compare = h("section", { "aria-label": "Comparison", "aria-live": "polite" });
  const search = h("input", {
    type: "search",
    id: "search",
    placeholder: "script, user, host, function",
    oninput: later(() => {
      words = search.value;
      start = 0;
      load();
    }),
  });
  const states = h(
    "select",
    {
      id: "state",
      onchange: () => {
        wanted = states.value;
        show();
      },
    },
    ["any", "running", "ended", "with failures"].map((name) =>
      h("option", { value: name === "any" ? "" : name }, name)
    ),
  );
  fill(
    main,
    h(
      "div",
      { class: "row between" },
      h("h1", {}, "Runs"),
      h(
        "div",
        { class: "row" },
        h("div", { class: "field" }, h("label", { for: "state" }, "State"), states),
        h("div", { class: "field" }, h("label", { for: "search" }, "Search"), search),
      ),
    ),
    compare,
    list,
  );

  async function load() {
    try {
      const found = await get(`runs?limit=${STEP}&start=${start}&search=${encodeURIComponent(words)}`);
      ({ runs: rows, total } = found);
    } catch {
      return;
    }
    show();
  }

  function show() {
    if (!total && !words) return fill(list, teach());
    const tick = (row) =>
      h("input", {
        type: "checkbox",
        "aria-label": `Compare ${row.script} ${row.run}`,
        checked: chosen.has(row.run),
        onchange: (event) => {
          event.target.checked ? chosen.add(row.run) : chosen.delete(row.run);
          showComparison(compare, rows.filter((r) => chosen.has(r.run)));
        },
      });
    const found = table(
      `${count(total)} runs`,
      [
        { title: "Compare", fixed: true, value: () => "", show: tick },
        {
          title: "Script",
          short: true,
          value: (r) => r.script,
          show: (r) => h("a", { href: `#/runs/${encodeURIComponent(r.run)}` }, r.script || "script"),
        },
        {
          title: "Functions",
          short: true,
          value: (r) => (r.functions ?? []).join(", "),
          show: (r) => (r.functions ?? []).slice(0, 3).join(", "),
        },
        {
          title: "State",
          value: (r) => stateOf(r),
          show: (r) => h("span", { class: `pill ${r.ended ? "" : "on"} ${r.failed ? "bad" : ""}` }, stateOf(r)),
        },
        {
          title: "Began",
          short: true,
          value: (r) => new Date(r.since * 1000).toISOString(),
          show: (r) => moment(r.since),
        },
        { title: "Jobs", number: true, value: (r) => r.finished, show: (r) => count(r.finished) },
        { title: "Failed", number: true, value: (r) => r.failed, show: (r) => count(r.failed) },
        { title: "Slots", number: true, value: (r) => r.slots },
        { title: "Time", number: true, value: (r) => r.wall_s, show: (r) => span(r.wall_s) },
        {
          title: "Speed-up",
          number: true,
          value: (r) => r.speedup,
          show: (r) => (r.speedup ? `${r.speedup.toFixed(1)}×` : "–"),
        },
        { title: "Efficiency", number: true, value: (r) => r.efficiency, show: (r) => percent(r.efficiency) },
        { title: "User", short: true, value: (r) => `${r.user ?? ""}@${r.host ?? ""}` },
      ],
      rows.filter((row) =>
        !wanted || (wanted === "running" ? !row.ended : wanted === "ended" ? row.ended : row.failed > 0)
      ),
      "runs",
    );
    const pages = total > STEP
      ? h(
        "div",
        { class: "row end" },
        h("button", {
          type: "button",
          disabled: start === 0,
          onclick: () => {
            start = Math.max(0, start - STEP);
            load();
          },
        }, "Later"),
        h("button", {
          type: "button",
          disabled: start + STEP >= total,
          onclick: () => {
            start += STEP;
            load();
          },
        }, "Earlier"),
      )
      : null;
    return fill(list, h("div", { class: "card" }, found, pages));
  }

  load();
  const again = setInterval(() => {
    if (!document.hidden && !start) load();
  }, 4000);
  const stop = listen((news) => {
    if (news.events?.some((event) => event.kind === "began" || event.kind === "ended")) load();
  });
  return () => {
    clearInterval(again);
    stop();
  };
}

function stateOf(row) {
  if (!row.ended) return row.is_detached ? "goes on alone" : "running";
  return row.state && row.state !== "running"
    ? row.state
    : row.failed
    ? "ended, with failures"
    : row.cancelled
    ? `ended, ${count(row.cancelled)} cancelled`
    : "ended";
}

function teach() {
  return h(
    "div",
    { class: "card empty" },
    h("h2", {}, "No run yet"),
    h(
      "p",
      {},
      "A run is one execution of a script that uses the cluster. On this device or on one that has logged in:",
    ),
    h(
      "pre",
      { class: "command" },
      "from octapi import Cluster\n\n" +
        "with Cluster() as cluster:\n    print(sum(cluster.map(pow, range(1000), range(1000))))",
    ),
    h("p", { class: "muted" }, "It appears here while it runs, and stays."),
  );
}

function showComparison(place, rows) {
  if (rows.length < 2) {
    return fill(place, rows.length ? h("p", { class: "muted" }, "Choose one more run to compare.") : null);
  }
  const lines = [
    ["Script", (r) => r.script],
    ["Began", (r) => moment(r.since)],
    ["Slots", (r) => r.slots],
    ["Jobs", (r) => count(r.finished)],
    ["Failed", (r) => count(r.failed)],
    ["Time", (r) => span(r.wall_s)],
    ["Work", (r) => span(r.busy_s)],
    ["Seconds a job", (r) => (r.finished ? span(r.busy_s / r.finished) : "–")],
    ["Speed-up", (r) => (r.speedup ? `${r.speedup.toFixed(2)}×` : "–")],
    ["Efficiency", (r) => percent(r.efficiency)],
    ["In words", (r) => r.sentence],
  ];
  const columns = [
    { title: "", value: (line) => line[0] },
    ...rows.map((row) => ({ title: row.run, value: (line) => line[1](row) })),
  ];
  const points = rows.filter((row) => row.speedup && row.slots);
  return fill(
    place,
    h(
      "div",
      { class: "card" },
      table("Comparison", columns, lines, "comparison"),
      points.length ? charts.framed("Speed-up over slots", charts.speedups(points), "speed-up") : null,
    ),
  );
}

function later(work) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, 250);
  };
}
