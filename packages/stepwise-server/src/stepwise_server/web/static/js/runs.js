// The table of runs, with the tree of projects at its side. The address holds the whole view.

import { call } from "./api.js";
import { ago, duration, h, notice, number, show, state, tags } from "./dom.js";
import { go, setQuery } from "./main.js";

const PAGE = 100;
const EVERY = 5000;
const SORTS = { name: "Name", "-last_update": "Updated", "-started": "Started", "-last_iteration": "Iteration", status: "Status" };

export async function view(main, { project, writes }) {
  const query = new URLSearchParams(location.search);
  const chosen = new Set();
  const table = h("div", { class: "scroll" });
  const count = h("span", { class: "soft" });
  const actions = h("span", { class: "bar", style: "margin: 0" });
  let rows = [];
  let scroll = null;
  let more = false;

  const search = h("input", { type: "search", class: "grow", placeholder: "Name, tag or id", value: query.get("q") ?? "",
    "aria-label": "Filter", oninput: later(() => { setQuery({ q: search.value }); load(); }) });
  const status = select(["", "in_progress", "completed", "failed", "stopped", "published", "queued", "created"], query.get("status"), "any status", (value) => { setQuery({ status: value }); load(); });
  const sort = h("select", { "aria-label": "Order", onchange: () => { setQuery({ sort: sort.value }); load(); } },
    Object.entries(SORTS).map(([value, name]) => h("option", { value, selected: value === (query.get("sort") ?? "-last_update") }, `by ${name.toLowerCase()}`)));
  const columns = h("input", { placeholder: "columns: loss/train, Args/lr", value: query.get("columns") ?? "", "aria-label": "Columns of metrics and parameters",
    onchange: () => { setQuery({ columns: columns.value }); draw(); } });
  const archived = h("input", { type: "checkbox", checked: query.get("archived") === "1", onchange: () => { setQuery({ archived: archived.checked ? "1" : "" }); load(); } });

  const tree = h("nav", { class: "card tree", "aria-label": "Projects" });
  show(main, h("div", { class: "columns" }, tree, h("section", { class: "card" },
    h("div", { class: "bar" }, search, status, sort, columns, h("label", {}, archived, " archived"), count),
    actions, table)));

  function body(size) {
    const wanted = { size, scroll_id: null, order_by: [sort.value], include_subprojects: true, search_hidden: false,
      only_fields: ["name", "status", "tags", "system_tags", "project.name", "user.name", "started", "last_update", "last_iteration", "active_duration", "last_metrics", "hyperparams", "type"],
      system_tags: archived.checked ? ["archived"] : ["__$not", "archived", "__$not", "dataset"] };
    if (project && project !== "*") wanted.project = [project];
    if (status.value) wanted.status = [status.value];
    if (search.value) wanted._any_ = { fields: ["id", "name", "tags", "comment"], pattern: search.value.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") };
    return wanted;
  }

  async function load() {
    const answer = await call("tasks.get_all_ex", body(PAGE));
    rows = answer.tasks;
    scroll = answer.scroll_id;
    more = rows.length === PAGE;
    await draw();
  }

  async function loadMore() {
    const answer = await call("tasks.get_all_ex", { ...body(PAGE), scroll_id: scroll });
    rows = [...rows, ...answer.tasks];
    scroll = answer.scroll_id;
    more = answer.tasks.length === PAGE;
    await draw();
  }

  async function refresh() {
    if (document.hidden) return;
    const answer = await call("tasks.get_all_ex", body(Math.max(PAGE, rows.length)));
    rows = answer.tasks;
    scroll = answer.scroll_id;
    await draw();
  }

  async function draw() {
    const running = rows.filter((task) => task.status === "in_progress").map((task) => task.id);
    const states = running.length ? (await call("stepwise.run_states", { tasks: running })).states : [];
    const byTask = Object.fromEntries(states.map((each) => [each.task, each]));
    const extra = columns.value.split(",").map((name) => name.trim()).filter(Boolean);
    count.textContent = `${rows.length}${more ? "+" : ""} runs`;
    drawActions();
    if (!rows.length) {
      show(table, h("p", { class: "soft" }, "No run here. Start one with ", h("code", {}, "stepwise train"), "."));
      return;
    }
    show(table, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}), h("th", {}, "Name"), h("th", {}, "Status"), extra.map((name) => h("th", {}, name)),
      h("th", { class: "wide" }, "Project"), h("th", { class: "wide" }, "Iteration"), h("th", { class: "wide" }, "Time"), h("th", {}, "Updated"))),
    h("tbody", {}, rows.map((task) => row(task, byTask[task.id], extra)))), more ? h("button", { onclick: loadMore }, "Show more") : "");
  }

  function row(task, run, extra) {
    const box = h("input", { type: "checkbox", checked: chosen.has(task.id), "aria-label": `Select ${task.name}`,
      onchange: () => { box.checked ? chosen.add(task.id) : chosen.delete(task.id); drawActions(); } });
    return h("tr", {}, h("td", {}, box),
      h("td", {}, h("a", { href: `/projects/${task.project?.id ?? "*"}/tasks/${task.id}` }, task.name), " ", tags(task)),
      h("td", {}, state(task, run)), extra.map((name) => h("td", { class: "number" }, number(cell(task, name)))),
      h("td", { class: "wide" }, task.project?.name ?? ""), h("td", { class: "number wide" }, number(task.last_iteration)),
      h("td", { class: "number wide" }, duration(task.active_duration)), h("td", { class: "soft", title: task.last_update }, ago(task.last_update)));
  }

  function drawActions() {
    if (!chosen.size) return show(actions);
    const ids = [...chosen];
    show(actions, h("span", { class: "bar" }, h("b", {}, `${ids.length} selected`),
      h("button", { class: "main", disabled: ids.length < 2 || ids.length > 20, onclick: () => go(`/compare?ids=${ids.join(",")}`) }, "Compare"),
      writes && [h("button", { onclick: () => many(archived.checked ? "tasks.unarchive_many" : "tasks.archive_many", ids) }, archived.checked ? "Restore" : "Archive"),
        h("button", { onclick: () => addTag(ids) }, "Tag"),
        h("button", { class: "bad", onclick: () => confirm(`Delete ${ids.length} runs for ever, with their files?`) && many("tasks.delete_many", ids, { force: true }) }, "Delete")],
      h("button", { onclick: () => { chosen.clear(); draw(); } }, "Clear")));
  }

  async function many(endpoint, ids, options = {}) {
    const { succeeded, failed } = await call(endpoint, { ids, ...options });
    for (const each of failed) notice(each.error.msg, true);
    const back = { "tasks.archive_many": "tasks.unarchive_many", "tasks.unarchive_many": "tasks.archive_many" }[endpoint];
    const done = { "tasks.archive_many": "archived", "tasks.unarchive_many": "restored" }[endpoint] ?? "deleted";
    if (succeeded.length) notice(`${succeeded.length} ${done}`, false, back ? ["Undo", () => many(back, succeeded.map((each) => each.id))] : []);
    chosen.clear();
    await load();
  }

  async function addTag(ids) {
    const tag = prompt("Tag");
    if (!tag) return;
    await call("tasks.update_tags", { ids, add_tags: [tag] });
    await load();
  }

  await Promise.all([load(), projects(tree, project)]);
  const timer = setInterval(() => refresh().catch(() => {}), EVERY);
  return () => clearInterval(timer);
}

async function projects(tree, current) {
  const { projects } = await call("projects.get_all_ex", { order_by: ["name"], page_size: 500, only_fields: ["name", "basename"], include_stats: true, stats_for_state: "active" });
  const entry = (id, name, depth, total) => h("a", { href: `/projects/${id}`, style: `padding-left: ${0.5 + depth}rem`, "aria-current": (current ?? "*") === id ? "page" : null },
    name, " ", h("span", { class: "soft" }, total ?? ""));
  show(tree, entry("*", "All projects", 0), projects.map((each) => entry(each.id, each.basename, each.name.split("/").length - 1, each.stats?.active?.total_tasks || "")));
}

// A column is `metric/variant` (the last value) or `Section/parameter`.
function cell(task, name) {
  const [group, ...rest] = name.split("/");
  const wanted = rest.join("/");
  for (const variants of Object.values(task.last_metrics ?? {}))
    for (const each of Object.values(variants))
      if (each.metric === group && each.variant === wanted) return each.value;
  return task.hyperparams?.[group]?.[wanted]?.value ?? "";
}

function select(values, current, none, changed) {
  const element = h("select", { "aria-label": none, onchange: () => changed(element.value) },
    values.map((value) => h("option", { value, selected: value === (current ?? "") }, value.replace("_", " ") || none)));
  return element;
}

function later(action) {
  let timer;
  return () => { clearTimeout(timer); timer = setTimeout(action, 250); };
}
