// One run: what it is, what may be done with it, and its tabs.

import { call } from "./api.js";
import { ago, duration, h, moment, notice, number, show, state, tags } from "./dom.js";
import { go } from "./main.js";

const TABS = {
  scalars: ["Scalars", () => import("./tabs/scalars.js")],
  plots: ["Plots", () => import("./tabs/plots.js")],
  samples: ["Debug samples", () => import("./tabs/samples.js")],
  attention: ["Attention", () => import("./tabs/attention.js")],
  console: ["Console", () => import("./tabs/console.js")],
  configuration: ["Configuration", () => import("./tabs/configuration.js")],
  artifacts: ["Artifacts & models", () => import("./tabs/artifacts.js")],
  code: ["Code", () => import("./tabs/code.js")],
  machine: ["Machine", () => import("./tabs/machine.js")],
};
// What the SDK and the official web app call the same places.
const ALIASES = { "output/log": "console", "info-output/metrics/scalar": "scalars", "output/metrics/scalar": "scalars", "info-output/log": "console",
  "hyper-params/hyper-param": "configuration", execution: "code", "output/metrics/plots": "plots", "output/debugImages": "samples" };

export async function view(main, { project, task: id, tab, writes }) {
  const name = TABS[tab] ? tab : ALIASES[tab] === "console" && !location.hash ? "scalars" : ALIASES[tab] ?? "scalars";
  const base = `/projects/${project}/tasks/${id}`;
  const top = h("div", {});
  const place = h("div", {});
  const links = h("nav", { class: "tabs", "aria-label": "Parts of the run" }, Object.entries(TABS).map(([key, [title]]) =>
    h("a", { href: `${base}/${key}`, "aria-current": key === name ? "page" : null }, title)));
  show(main, h("div", { class: "whole" }, top, links, place));
  const here = links.querySelector("[aria-current]");
  links.scrollLeft = here.offsetLeft - links.offsetWidth / 2; // on a phone, the tabs are wider than the window

  let shown = "";

  async function head() {
    const task = (await call("tasks.get_by_id_ex", { id, only_fields: ["*", "project.name", "user.name", "parent.name", "parent.project.name", "execution.queue.name"] })).tasks[0];
    if (!task) throw new Error(`There is no run ${id}. It may have been deleted.`);
    const run = task.status === "in_progress" ? (await call("stepwise.run_states", { tasks: [id] })).states[0] : null;
    const news = JSON.stringify([task, run?.state, Math.floor(Date.now() / 60000)]);
    if (news === shown) return task; // else a button would lose the focus every few seconds
    shown = news;
    document.title = `${task.name} · stepwise`;
    show(top, h("div", { class: "bar" }, h("a", { href: `/projects/${task.project?.id ?? "*"}` }, task.project?.name ?? "All projects"), h("span", { class: "soft" }, "/"),
      h("h1", { class: "grow" }, task.name), state(task, run), writes && buttons(task)),
    h("div", { class: "bar soft facts-line" }, tags(task).length ? h("span", {}, tags(task)) : "", h("span", {}, `${task.type} by ${task.user?.name ?? "?"}`), h("span", { title: task.started }, `started ${moment(task.started) || "never"}`),
      h("span", {}, duration(task.active_duration)), h("span", {}, `iteration ${number(task.last_iteration)}`),
      h("span", { title: task.last_update }, `updated ${ago(task.last_update)}`), task.parent?.name && h("span", {}, `part of ${task.parent.name}`)),
    task.status_message && task.status !== "completed" && h("div", { class: "bar" }, h("span", { class: "soft" }, task.status_reason || task.status_message)),
    task.comment && h("pre", { class: "soft" }, task.comment));
    return task;
  }

  function buttons(task) {
    const act = (title, endpoint, options = {}, question = "") => h("button", { onclick: async () => {
      if (question && !confirm(question)) return;
      try {
        const answer = await call(endpoint, { task: id, ...options });
        if (endpoint === "tasks.clone") return go(`/projects/${project}/tasks/${answer.id}/configuration`);
        await head();
      } catch (error) { notice(error.message, true); }
    } }, title);
    return [
      task.status === "in_progress" && act("Stop", "tasks.stop", {}, "Stop this run?"),
      act("Clone", "tasks.clone", { new_task_name: `${task.name} (clone)` }),
      ["created", "stopped", "failed"].includes(task.status) && act("Enqueue", "tasks.enqueue", {}),
      task.status === "queued" && act("Dequeue", "tasks.dequeue", {}),
      ["completed", "stopped", "failed"].includes(task.status) && act("Publish", "tasks.publish", {}, "A published run cannot change any more. Publish it?"),
      task.system_tags.includes("archived") ? act("Restore", "tasks.unarchive_many", { ids: [id] }) : act("Archive", "tasks.archive_many", { ids: [id] }),
    ];
  }

  const task = await head();
  const module = await TABS[name][1]();
  const stop = await module.tab(place, { id, task, writes });
  const timer = setInterval(() => document.hidden || head().catch(() => {}), 5000);
  return () => { clearInterval(timer); stop?.(); document.title = "stepwise"; };
}
