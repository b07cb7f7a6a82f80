"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const cells = (row) => [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(cell));
  for (const button of table.querySelectorAll("thead .sort")) {
    button.addEventListener("click", () => {
      const head = button.parentElement;
      const rising = head.getAttribute("aria-sort") === "descending";
      const column = columnOf(head);
      for (const other of table.querySelectorAll("thead [aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const keyed = [...body.rows].map((row) => {
        const cell = cells(row)[column];
        const text = cell.dataset.v ?? cell.textContent.trim();
        return { row, text, number: text === "" || text === "–" ? NaN : Number(text) };
      });
      const numeric = keyed.some((item) => !Number.isNaN(item.number));
      keyed.sort((a, b) => {
        if (!numeric) return rising ? b.text.localeCompare(a.text) : a.text.localeCompare(b.text);
        if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
        return rising ? a.number - b.number : b.number - a.number;
      });
      body.append(...keyed.map((item) => item.row));
    });
  }
}
function columnOf(head) {
  const rows = [...head.closest("thead").rows];
  if (rows.length === 1 || head.rowSpan === rows.length) return head.cellIndex;
  const lead = [...rows[0].cells].filter((cell) => cell.rowSpan === rows.length).length;
  return lead + head.cellIndex;
}
for (const input of document.querySelectorAll("input.filter")) {
  const table = document.getElementById(input.dataset.table);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const item of opened) item.open = true;
});
addEventListener("afterprint", () => {
  for (const item of opened) item.open = false;
});
const save = document.getElementById("download");
save.hidden = false;
save.addEventListener("click", () => {
  const data = document.getElementById("comparison").textContent;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([data], { type: "application/json" }));
  link.download = "comparison.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
