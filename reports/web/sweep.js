// The chosen design: its command and figures. `data` is written before this script.
'use strict';
const panel = document.getElementById('chosen');
const command = document.getElementById('command');
const rows = document.getElementById('figures');

function row(name, value) {
  const tr = document.createElement('tr');
  const th = document.createElement('th');
  const td = document.createElement('td');
  th.scope = 'row';
  th.textContent = name;
  td.textContent = value;
  tr.append(th, td);
  rows.append(tr);
}

function choose(index) {
  const point = data.points[index];
  if (!point) return;
  const [values, figures, rest] = point;
  command.textContent = data.command + rest;
  rows.replaceChildren();
  data.axes.forEach((name, i) => row(name, values[i]));
  figures.forEach((value, i) => { if (value !== null) row(data.figures[i], value); });
  panel.hidden = false;
  for (const mark of document.querySelectorAll('.chosen')) mark.classList.remove('chosen');
  for (const mark of document.querySelectorAll(`[data-p="${CSS.escape(index)}"]`)) mark.classList.add('chosen');
}

document.addEventListener('click', (event) => {
  const mark = event.target.closest('[data-p]');
  if (mark) choose(mark.dataset.p);
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.dataset && event.target.dataset.p) choose(event.target.dataset.p);
});
document.getElementById('copy').addEventListener('click', () => navigator.clipboard.writeText(command.textContent));
