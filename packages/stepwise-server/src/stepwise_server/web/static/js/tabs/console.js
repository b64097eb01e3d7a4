// The console: the newest lines, older ones on request, new ones by themselves.

import { call } from "../api.js";
import { h, show } from "../dom.js";

const PAGE = 500;
const EVERY = 2000;

export async function tab(place, { id, task }) {
  const lines = h("pre", { class: "console", tabIndex: 0, "aria-label": "Console" });
  const older = h("button", { onclick: earlier }, "Earlier lines");
  const follow = h("input", { type: "checkbox", checked: true });
  const filter = h("input", { type: "search", class: "grow", placeholder: "Search these lines", "aria-label": "Search the console", oninput: () => draw() });
  const total = h("span", { class: "soft" });
  show(place, h("div", { class: "bar" }, older, filter, h("label", {}, follow, " follow"),
    h("a", { href: `/api/events.download_task_log?line_type=text&task=${id}`, download: "" }, "Download"), total), lines);
  let events = [];

  const ask = (options) => call("events.get_task_log", { task: id, batch_size: PAGE, ...options });

  async function earlier() {
    const answer = await ask({ navigate_earlier: true, from_timestamp: events[0]?.timestamp });
    events = [...answer.events.reverse(), ...events];
    older.disabled = !answer.events.length;
    draw(false);
  }

  async function later() {
    const answer = await ask({ navigate_earlier: false, from_timestamp: events.at(-1)?.timestamp ?? 0 });
    if (!answer.events.length) return;
    events = [...events, ...answer.events];
    total.textContent = `${answer.total} entries`;
    draw();
  }

  function draw(end = true) {
    const wanted = filter.value.toLowerCase();
    show(lines, events.filter((event) => event.msg.toLowerCase().includes(wanted)).map((event) =>
      h("span", { class: /err|crit|fatal/i.test(event.level ?? "") ? "error" : /warn/i.test(event.level ?? "") ? "warning" : "", title: new Date(event.timestamp).toLocaleString() }, `${event.msg}\n`)));
    if (!events.length) show(lines, "No lines yet.");
    if (end && follow.checked) lines.scrollTop = lines.scrollHeight;
  }

  const first = await ask({ navigate_earlier: true });
  events = first.events.reverse();
  total.textContent = `${first.total} entries`;
  older.disabled = events.length >= first.total;
  draw();
  const timer = setInterval(() => document.hidden || task.status !== "in_progress" || later().catch(() => {}), EVERY);
  return () => clearInterval(timer);
}
