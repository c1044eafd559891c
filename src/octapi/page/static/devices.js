// Devices: what they are, how they stand, and what to do with them.
import * as charts from "./charts.js";
import { confirmed, fill, h, say, table } from "./dom.js";
import { count, moment, span } from "./format.js";
import { get, listen, me, now, post } from "./state.js";

export function open(main, { name: wanted = "" } = {}) {
  const list = h("div"),
    refused = h("section", { "aria-label": "Refused" }),
    detail = h("section", { "aria-label": "Health", "aria-live": "polite" });
  fill(main, h("h1", {}, "Devices"), detail, list, refused);

  async function load() {
    let found;
    try {
      found = await get("devices");
    } catch {
      return;
    }
    const focused = document.activeElement?.getAttribute("aria-label");
    fill(list, found.devices.length ? h("div", { class: "card" }, show(found.devices)) : teach());
    fill(refused, refusals(found.refusals));
    if (focused) main.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
  }

  function show(rows) {
    return table(
      `${count(rows.length)} devices and logins`,
      [
        {
          title: "Name",
          value: (r) => r.name,
          show: (r) => (me.has_history && r.role === "worker"
            ? h("button", {
              type: "button",
              class: "link",
              "aria-label": `Health of ${r.name}`,
              onclick: () => health(detail, r.name),
            }, r.name)
            : r.name),
        },
        {
          title: "Now",
          value: (r) => standing(r),
          show: (r) =>
            h("span", {
              class: `pill ${r.online ? "on" : ""} ${r.badges?.some((b) => b[0] === "alarm") ? "bad" : ""}`,
            }, standing(r)),
        },
        { title: "Role", value: (r) => r.role },
        { title: "Address", value: (r) => r.address },
        { title: "Slots", number: true, value: (r) => r.slots },
        { title: "OctaPi", value: (r) => r.release },
        { title: "Python", value: (r) => r.python },
        { title: "System", short: true, value: (r) => r.platform },
        {
          title: "Last heard",
          value: (r) => r.heard,
          show: (r) => (r.heard ? (now() - r.heard < 2 ? "now" : `${span(now() - r.heard)} ago`) : "–"),
        },
        { title: "Certificate", value: (r) => r.ends, show: certificate },
        { title: "Do", fixed: true, value: () => "", show: (r) => doing(r, load) },
      ],
      rows,
      "devices",
    );
  }

  load();
  if (wanted && me.has_history) health(detail, wanted);
  const again = setInterval(() => {
    if (!document.hidden && !document.querySelector("dialog")) load();
  }, 5000);
  const stop = listen((news) => {
    if (news.events?.some((event) => event.kind === "joined" || event.kind === "left")) load();
  });
  return () => {
    clearInterval(again);
    stop();
  };
}

function standing(row) {
  if (row.role !== "worker") return "login";
  if (!row.online) return row.gone ? `not here since ${moment(row.gone)}` : "not here";
  return row.badges?.length ? row.badges[0][2] : "well";
}

function certificate(row) {
  if (!row.ends) return "–";
  const left = row.ends - now();
  const age = row.renewed ? `${span(now() - row.renewed)} old, ` : "";
  return left < 0 ? `${age}expired; it renews itself` : `${age}good for ${span(left)}`;
}

function doing(row, load) {
  if (me.kind !== "act" || me.is_local) return "–";
  const act = async (what) => {
    try {
      await post(`workers/${encodeURIComponent(row.name)}/${what}`);
      say(`${what}: ${row.name}`);
    } catch (error) {
      alert(error.message);
    }
    load();
  };
  const remove = async () => {
    if (
      await confirmed(
        `Remove ${row.name}?`,
        "At once and for good: its jobs go to others, and it comes back only with a new token.",
        "Remove it",
      )
    ) act("remove");
  };
  return h(
    "span",
    { class: "row tight" },
    row.online
      ? (row.state?.startsWith("drain")
        ? button(`Resume ${row.name}`, "Resume", () => act("resume"))
        : button(`Drain ${row.name}`, "Drain", () => act("drain")))
      : null,
    button(`Remove ${row.name}`, "Remove", remove),
  );
}

function button(label, words, action) {
  return h("button", { type: "button", class: "quiet small", "aria-label": label, onclick: action }, words);
}

export function refusals(rows) {
  if (!rows.length) return h("p", { class: "muted" }, "Nobody was refused since the master began.");
  return h(
    "div",
    { class: "card" },
    table(
      "Who asked and was refused",
      [
        { title: "When", value: (r) => new Date(r.at * 1000).toISOString(), show: (r) => moment(r.at) },
        { title: "Who, and why", value: (r) => r.text },
      ],
      [...rows].reverse(),
      "refused",
    ),
  );
}

async function health(place, name) {
  let found;
  try {
    found = await get(`devices/${encodeURIComponent(name)}/health`);
  } catch (error) {
    return fill(place, h("p", {}, error.message));
  }
  const series = (key, factor) =>
    found.health.filter((row) => row[key] !== undefined && row[key] !== null).map((row) => [row.at, factor(row[key])]);
  const plots = [["Load", "cpu", (v) => 100 - v, " %"], ["Temperature", "temperature", (v) => v, " °C"], [
    "Free memory",
    "memory",
    (v) => v / 1e6,
    " MB",
  ]].map(([title, key, factor, unit]) => {
    const rows = series(key, factor);
    return rows.length > 1 ? charts.framed(`${title} of ${name}`, charts.line(rows, unit), `${key}-${name}`) : null;
  });
  const lately = found.lately ?? [];
  if (lately.length > 1) {
    plots.unshift(
      charts.framed(
        `Load and memory of ${name} in the last half hour`,
        charts.course(lately, lately[0][0], lately.at(-1)[0]),
        `course-${name}`,
        charts.courseKey(),
      ),
    );
  }
  fill(
    place,
    h(
      "div",
      { class: "card" },
      h(
        "div",
        { class: "row between" },
        h("h2", {}, name),
        button(`Close health of ${name}`, "Close", () => fill(place)),
      ),
      plots.some(Boolean)
        ? h("div", { class: "plots" }, plots)
        : h("p", { class: "muted" }, "Its health is written down every few minutes; there is nothing to draw yet."),
      found.events.length
        ? table(
          "What happened to it",
          [
            {
              title: "When",
              value: (r) => new Date(r.at * 1000).toISOString(),
              show: (r) => moment(r.at),
            },
            { title: "What", value: (r) => r.event },
            { title: "More", value: (r) => r.text },
          ],
          found.events,
          `events-${name}`,
        )
        : null,
    ),
  );
  place.scrollIntoView({ block: "start" });
  return null;
}

function teach() {
  return h(
    "div",
    { class: "card empty" },
    h("h2", {}, "No device yet"),
    h("p", {}, "Devices join with one line."),
    h("p", {}, h("a", { href: "#/join", class: "button" }, "Make it")),
  );
}
