// The page as a whole. Errors are left where a test finds them.
window.addEventListener('error', (event) => {
  document.documentElement.dataset.error = event.message;
});

function drawAll() {
  drawLineage();
  charts.forEach(draw);
}

function summary() {
  const states = new Map();
  for (const path of data.paths) states.set(path.state, (states.get(path.state) ?? 0) + 1);
  const parts = [...states].map(
      ([state, count]) =>
          (state === 'average' ? `${count} average${count > 1 ? 's' : ''}` : `${count} ${state}`));
  const steps = data.paths.reduce((sum, path) => sum + path.steps, 0);
  return `${data.paths.length} ${data.paths.length === 1 ? 'path' : 'paths'} (${
      parts.join(', ')}), ${showCount(steps)} steps on record. As of ${data.made}.`;
}

function problemsNote() {
  const damaged = data.paths.filter((path) => path.state === 'damaged');
  if (damaged.length === 0) return null;
  return el(
      'div', {class: 'problem', role: 'alert'},
      el('b', {}, `${damaged.length === 1 ? 'A path' : `${damaged.length} paths`} cannot be read.`),
      ' The others are shown.',
      el('ul', {},
         ...damaged.map((path) => el('li', {}, el('b', {}, path.name), `: ${path.problem}`))));
}

function section(id, title, ...children) {
  return el('section', {id}, el('h2', {}, title), ...children);
}

function build() {
  startView();
  const page = document.getElementById('page');
  page.append(el('header', {}, el('h1', {}, data.title), el('p', {class: 'summary'}, summary())));
  const note = problemsNote();
  if (note) page.append(note);
  if (data.versions) page.append(versionSection());
  page.append(section(
      'lineage-section', 'Lineage', makeLineage(),
      el('details', {class: 'values', id: 'paths-table'}, el('summary', {}, 'Paths as a table'),
         pathsTable())));
  page.append(section(
      'training', 'Training',
      el('form', {class: 'controls', 'aria-label': 'What the charts show'}, pathChoices(),
         kindChoices(), stepChoices()),
      makeChart(ratesSpec()).figure, makeChart(lossSpec()).figure,
      el('div', {class: 'pair'}, ...speedSpecs().map((spec) => makeChart(spec).figure))));
  if (data.paths.some((path) => path.starts.length > 0))
    page.append(section(
        'starts', 'Starts and stops',
        el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Starts'},
           startsTable()),
        el('p', {class: 'about'},
           'Layout: tensor x pipeline x data parallel. Given up: steps behind the one that a later start went on from. Times are UTC.')));
  page.append(el(
      'footer', {},
      `Made by switchyard ${
          data.version}. Numbers have six digits; report --csv writes every step of them, exactly.`));
}

// Paper has its own width, and nothing on it can be opened: the table of paths is open there, other
// values where they were opened before.
function printing(on) {
  view.printing = on;
  const table = document.getElementById('paths-table');
  if (on) table.dataset.was = table.open ? 'open' : '';
  table.open = on || table.dataset.was === 'open';
  drawAll();
}

// For tests: what does not fit into the window's width.
function measure() {
  const root = document.documentElement;
  root.dataset.scrollWidth = root.scrollWidth;
  root.dataset.innerWidth = window.innerWidth;
}

build();
drawAll();
let width = document.documentElement.clientWidth;
window.addEventListener('resize', () => {
  if (document.documentElement.clientWidth === width || view.printing) return;
  width = document.documentElement.clientWidth;
  drawAll();
  measure();
});
window.addEventListener('beforeprint', () => printing(true));
window.addEventListener('afterprint', () => printing(false));
measure();
document.documentElement.dataset.ready = 'yes';
