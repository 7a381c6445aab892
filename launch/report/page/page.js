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

function checkbox(text, checked, change, mark) {
  return el(
      'label', {class: 'choice'},
      el('input', {type: 'checkbox', checked, change: (event) => change(event.target.checked)}),
      mark, text);
}

function changed() { charts.forEach(draw); }

function pathChoices() {
  const box = el('div', {class: 'choices'});
  const renew = () => {
    box.replaceChildren(...data.paths.filter((path) => path.kind !== 'average').map((path) => {
      const place = data.paths.indexOf(path);
      const choose = (on) => {
        on ? view.shown.add(place) : view.shown.delete(place);
        changed();
      };
      return checkbox(
          path.name, view.shown.has(place), choose, el('span', {class: `dot c${colourOf(place)}`}));
    }));
  };
  const setAll = (places) => () => {
    view.shown = new Set(places);
    renew();
    changed();
  };
  renew();
  const buttons = [
    el('button', {type: 'button', click: setAll(data.paths.map((_, i) => i))}, 'All'),
    el('button', {type: 'button', click: setAll([])}, 'None')
  ];
  if (data.versions) {
    const seeds = [...new Set(data.versions.each.map((version) => version.seed))];
    const ofSeed = (seed) =>
        data.paths.map((_, i) => i)
            .filter((i) => versionsOf[i].some((version) => version.seed === seed));
    if (seeds.length > 1)
      buttons.push(...seeds.map(
          (seed) => el('button', {type: 'button', click: setAll(ofSeed(seed))}, `Seed ${seed}`)));
  }
  return el(
      'fieldset', {class: data.paths.length > 6 ? 'wide' : null}, el('legend', {}, 'Paths'),
      el('div', {class: 'buttons'}, ...buttons), box);
}

function kindChoices() {
  const names = [...view.kinds.keys()];
  const box =
      el('div', {class: 'choices'},
         ...names.map((name) => checkbox(name, view.kinds.get(name), (on) => {
                        view.kinds.set(name, on);
                        changed();
                      })), checkbox('whole range', view.wholeRange, (on) => {
           view.wholeRange = on;
           changed();
         }));
  return el('fieldset', {}, el('legend', {}, 'Losses'), box);
}

function stepChoices() {
  const field = (name, value) => el(
      'input', {type: 'number', min: 0, max: lastStep(), value, 'aria-label': name, change: read});
  const from = field('First step shown', view.from), to = field('Last step shown', view.to);
  function read() {
    const [low, high] = [Number(from.value), Number(to.value)];
    const valid = Number.isFinite(low) && Number.isFinite(high) && low >= 0 && low < high;
    for (const input of [from, to]) input.setAttribute('aria-invalid', String(!valid));
    if (!valid) return;
    [view.from, view.to] = [low, high];
    changed();
  }
  const reset =
      el('button', {
        type: 'button',
        click: () => {
          from.value = 0;
          to.value = lastStep();
          read();
        }
      },
         'All');
  return el(
      'fieldset', {}, el('legend', {}, 'Steps'),
      el('div', {class: 'choices'}, from, ' to ', to, reset));
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
