// What waits where, and who works.

import { call } from "./api.js";
import { ago, duration, h, notice, show } from "./dom.js";

const EVERY = 5000;

export async function view(main, { writes }) {
  const place = h("div", { class: "whole" });
  show(main, place);

  async function draw() {
    const [{ queues }, { workers }] = await Promise.all([
      call("queues.get_all_ex", { only_fields: ["*", "entries.task.name", "entries.task.project"], order_by: ["name"] }), call("workers.get_all", {})]);
    show(place, h("h1", {}, "Queues and workers"), queues.map((queue) => h("section", { class: "card", style: "margin-top: .8rem" },
      h("h2", { style: "margin-top: 0" }, queue.display_name || queue.name, " ", h("span", { class: "soft" }, `${queue.entries.length} waiting, ${queue.workers?.length ?? 0} workers`)),
      queue.entries.length > 0 && h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, queue.entries.map((entry, index) => h("tr", {}, h("td", { class: "number" }, index + 1),
        h("td", {}, h("a", { href: `/projects/*/tasks/${entry.task.id}` }, entry.task.name ?? entry.task.id)), h("td", { class: "soft" }, ago(entry.added)),
        h("td", {}, writes && [move("↑", "queues.move_task_backward", queue, entry, index === 0), move("↓", "queues.move_task_forward", queue, entry, index === queue.entries.length - 1),
          h("button", { onclick: () => act("tasks.dequeue", { task: entry.task.id }) }, "Remove")])))))))),
    h("h2", {}, "Workers"), workers.length ? h("div", { class: "card scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Worker", "Runs", "For", "Queues", "Last seen"].map((name) => h("th", {}, name)))),
      h("tbody", {}, workers.map((each) => h("tr", {}, h("td", {}, each.id), h("td", {}, each.task ? h("a", { href: `/projects/*/tasks/${each.task.id}` }, each.task.name) : "nothing"),
        h("td", {}, each.task ? duration((each.task.running_time ?? 0) / 1000) : ""), h("td", {}, (each.queues ?? []).map((queue) => queue.name).join(", ")), h("td", {}, ago(each.last_report_time)))))))
      : h("p", { class: "soft" }, "No worker. Start one with ", h("code", {}, "clearml-agent daemon --queue default"), "."));
  }

  const move = (sign, endpoint, queue, entry, disabled) => h("button", { disabled, "aria-label": sign === "↑" ? "Earlier" : "Later", onclick: () => act(endpoint, { queue: queue.id, task: entry.task.id }) }, sign);

  async function act(endpoint, params) {
    try { await call(endpoint, params); } catch (error) { notice(error.message, true); }
    await draw();
  }

  await draw();
  const timer = setInterval(() => document.hidden || draw().catch(() => {}), EVERY);
  return () => clearInterval(timer);
}
