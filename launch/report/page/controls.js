// What the charts of training show: paths, kinds of losses, steps.

function checkbox(text, checked, change, mark) {
  return el(
      'label', {class: 'choice'},
      el('input', {type: 'checkbox', checked, change: (event) => change(event.target.checked)}),
      mark, text);
}

function changed() { charts.forEach(draw); }

// Those that have something to draw.
function drawnPlaces() {
  return data.paths.map((_, place) => place).filter((place) => {
    const {steps, planned} = data.paths[place];
    return steps > 0 || planned;
  });
}

function pathBox() {
  return el('div', {class: 'choices'}, ...drawnPlaces().map((place) => {
    const choose = (on) => {
      on ? view.shown.add(place) : view.shown.delete(place);
      changed();
    };
    return checkbox(
        clipped(data.paths[place].name, 48), view.shown.has(place), choose,
        el('span', {class: `dot c${colourOf(place)}`}));
  }));
}

// Names of sets of paths: all, none, those of an arm or of a seed.
function pathSets() {
  const sets = [['All', drawnPlaces()], ['None', []]];
  const add = (name, values, key) => {
    if (values.length < 2) return;
    for (const value of values) {
      const has = (place) => versionsOf[place].some((version) => version[key] === value);
      sets.push([name(value), drawnPlaces().filter(has)]);
    }
  };
  const all = data.versions?.each ?? [];
  add((arm) => arm, arms, 'arm');
  add((seed) => `seed ${seed}`, [...new Set(all.map((version) => version.seed))], 'seed');
  return sets;
}

function pathChoices() {
  let box = pathBox();
  const choose = (places) => () => {
    view.shown = new Set(places);
    const next = pathBox();
    box.replaceWith(next);
    box = next;
    changed();
  };
  const buttons = pathSets().map(
      ([name, places]) => el('button', {type: 'button', click: choose(places)}, name));
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
