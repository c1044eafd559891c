// Join: the one line for a device, and its QR code.
import { qr } from "./charts.js";
import { refusals } from "./devices.js";
import { fill, h, say } from "./dom.js";
import { span } from "./format.js";
import { get, listen, me, post } from "./state.js";

export function open(main) {
  const place = h("div"),
    refused = h("section", { "aria-label": "Refused" }),
    joined = h("p", { role: "status", class: "joined-note" });
  const uses = h(
    "select",
    { id: "uses" },
    h("option", { value: "1" }, "one device"),
    h("option", { value: "10" }, "ten devices"),
    h("option", { value: "0" }, "any number"),
  );
  const life = h(
    "select",
    { id: "life" },
    h("option", { value: "3600" }, "an hour"),
    h("option", { value: "86400" }, "a day"),
    h("option", { value: "604800" }, "a week"),
  );
  const make = async () => {
    try {
      show(place, await post("join", { uses: Number(uses.value), life_s: Number(life.value) }));
    } catch (error) {
      fill(place, h("p", { class: "error", role: "alert" }, error.message));
    }
  };
  const form = h(
    "form",
    {
      class: "row",
      onsubmit: (event) => {
        event.preventDefault();
        make();
      },
    },
    h("div", { class: "field" }, h("label", { for: "uses" }, "It lets in"), uses),
    h("div", { class: "field" }, h("label", { for: "life" }, "within"), life),
    h("button", { type: "submit", class: "primary" }, "Make the line"),
  );
  const why = me.is_local
    ? "This cluster is one computer, and lives as long as its script. " +
      "A master that others can join starts with 'octapi master'."
    : "Your link is to look only. Whoever may act can make the line.";
  fill(
    main,
    h("h1", {}, "Join"),
    h(
      "section",
      { class: "card" },
      h("p", {}, "One line makes any device a worker. It needs Python and the way to this master, nothing else."),
      me.kind === "act" && !me.is_local ? form : h("p", { class: "muted" }, why),
      place,
      joined,
    ),
    refused,
  );
  const load = async () => {
    try {
      fill(refused, refusals((await get("devices")).refusals));
    } catch { /* the banner says it */ }
  };
  load();
  const again = setInterval(load, 4000);
  const stop = listen((news) => {
    for (const event of news.events ?? []) if (event.kind === "joined") joined.textContent = `${event.name} joined.`;
  });
  return () => {
    clearInterval(again);
    stop();
  };
}

// one line that can be copied, and what it is for
function command(kind, title, text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(line);
      button.textContent = "Press Ctrl-C";
    }
  };
  const line = h("code", {}, text);
  const button = h("button", { type: "button", onclick: copy, "aria-label": `Copy: ${title}` }, "Copy");
  return [
    h("h2", {}, title),
    h(
      "div",
      { class: `join-line ${kind}` },
      h("pre", { class: "command", tabindex: "0", "aria-label": title }, line),
      button,
    ),
  ];
}

function show(place, found) {
  const install = found.install
    ? command(
      "install",
      "A device without OctaPi: it installs, joins, and works whenever the device is on",
      found.install,
    )
    : [
      h("h2", {}, "A device without OctaPi"),
      h("p", { class: "muted" }, found.no_install ?? "This master cannot make its line."),
    ];
  fill(
    place,
    ...install,
    ...command("joins", "A device that has OctaPi", found.line),
    h(
      "div",
      { class: "row" },
      qr(found.qr),
      h(
        "p",
        { class: "muted narrow" },
        `Token ${found.ident}, good for ${
          span(found.life_s)
        }. It is a secret: whoever has it can join. The QR code holds this line.`,
      ),
    ),
    ...command("compose", "A computer with Docker, in a copy of OctaPi's repository", found.compose),
    ...command(
      "client",
      "A person's computer: on the master, this prints its line",
      "octapi token create --role client",
    ),
  );
}
