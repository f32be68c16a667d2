function make(tag, cls, text) { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e }
function some(k, word) { return `${k.toLocaleString('en')} ${word}${k == 1 ? '' : 's'}` }

// A map to explore: wheel, pinch, drag and keys move it, a lasso lists what it holds, filters thin it out.
// It knows points and no page. `data`: n, x, y, cluster (index into clusters), p (hundredths), name(i), tile(i),
// clusters [{ id, title, colour, path, tag }], width, height, sheets { px, across, crisp, src }. `tell`: open, filtered, picture.
function exploreMap(box, data, tell = {}) {
  const { n, x, y, cluster, p, clusters, sheets } = data, most = 60, one = (v, low, high) => Math.min(high, Math.max(low, v))
  const part = v => v >= 100 ? '1' : `.${String(v).padStart(2, 0)}`
  const on = new Uint8Array(n).fill(1), caught = new Uint8Array(n), look = clusters.map((_, c) => c)
  let shown = n, held = 0, only = new Set(), low = 0, high = 100, marks = null, W = 0, H = 0, dpr = 1, k = 1, tx = 0, ty = 0, hot = -1, lasso = false, path = null, asked = 0, later = 0, atlas = null, large = false, side = 38
  // points come sorted by cluster; drawn in a mixed order no cluster covers all others
  let stride = Math.max(1, Math.round(n * .618)); const gcd = (a, b) => b ? gcd(b, a % b) : a; while (gcd(stride, n) > 1) stride++
  const order = Uint32Array.from({ length: n }, (_, i) => i * stride % n)

  const button = (text, label, key, act) => { const b = make('button', '', text); b.type = 'button'; b.title = key ? `${label} (${key})` : label; b.setAttribute('aria-label', label); b.onclick = act; return b }
  const canvas = make('canvas'), g = canvas.getContext('2d'), stage = make('div', 'stage'), tip = make('div', 'tip'), say = make('p', 'say soft small'), list = make('div', 'caught')
  const lassoButton = button('Lasso', 'Lasso: draw around images to list them', 'L', () => setLasso(!lasso))
  const tools = make('div', 'tools'), filters = make('div', 'filters')
  tools.setAttribute('role', 'group'); tools.setAttribute('aria-label', 'Map tools')
  tools.append(button('+', 'Zoom in', '+', () => zoom(1.6)), button('−', 'Zoom out', '-', () => zoom(1 / 1.6)), button('Fit', 'Show the whole map', '0', () => fit()),
    lassoButton, button('List', 'List the images in view', 'V', () => listView()))
  canvas.tabIndex = 0; canvas.setAttribute('role', 'application'); canvas.setAttribute('aria-roledescription', 'map')
  canvas.setAttribute('aria-label', `Map of ${some(n, 'image')} in ${some(clusters.length, 'cluster')}. Arrow keys move it, plus and minus zoom, 0 shows all, V lists the images in view, L starts a lasso, Enter leads to the cluster of the image in the middle.`)
  say.setAttribute('role', 'status'); tip.hidden = list.hidden = true; tip.setAttribute('aria-hidden', 'true')

  // --- filters: one cluster or several, and a range of confidence
  const select = make('select'), range = make('span', 'range'), lower = make('input'), upper = make('input'), said = make('output', 'num soft')
  const counts = clusters.map(() => 0); for (let i = 0; i < n; i++) counts[cluster[i]]++
  select.setAttribute('aria-label', 'Show clusters'); select.append(new Option('All clusters', ''))
  clusters.forEach((c, j) => select.append(new Option(`${c.title} (${counts[j].toLocaleString('en')})`, c.id)))
  const several = new Option('', '*'); several.hidden = true; select.append(several)
  for (const [input, label, v] of [[lower, 'Confidence at least', 0], [upper, 'Confidence at most', 100]]) { Object.assign(input, { type: 'range', min: 0, max: 100, value: v }); input.setAttribute('aria-label', label); range.append(input) }
  const words = make('span', 'conf'); words.append(make('span', 'soft', 'Confidence'), range); filters.append(select, words, said)
  select.onchange = () => { if (select.value != '*') setOnly(select.value ? [select.value] : []) }
  lower.oninput = () => { if (+lower.value > +upper.value) lower.value = upper.value; filter() }
  upper.oninput = () => { if (+upper.value < +lower.value) upper.value = lower.value; filter() }
  const setOnly = ids => { only = new Set(clusters.flatMap((c, j) => ids.includes(c.id) ? [j] : [])); filter() }
  function filter(quiet) {
    low = +lower.value; high = +upper.value; shown = 0
    const kept = clusters.map(() => 0)
    for (let i = 0; i < n; i++) { on[i] = (!only.size || only.has(cluster[i])) && p[i] >= low && p[i] <= high; if (on[i]) { shown++; kept[cluster[i]]++ } }
    several.hidden = only.size < 2; several.text = some(only.size, 'cluster')
    select.value = only.size > 1 ? '*' : only.size ? clusters[[...only][0]].id : ''
    for (const input of [lower, upper]) input.setAttribute('aria-valuetext', part(+input.value))
    range.style.setProperty('--low', low / 100); range.style.setProperty('--high', high / 100)
    const all = !only.size && low == 0 && high == 100
    said.textContent = low == 0 && high == 100 ? '' : `${part(low)} to ${part(high)}`
    hide(); if (!list.hidden) close()
    if (!quiet) say.textContent = all ? `All ${some(n, 'image')} shown.` : `${shown.toLocaleString('en')} of ${some(n, 'image')} shown.`
    canvas.dataset.shown = shown
    tell.filtered?.({ all, only: [...only].map(j => clusters[j].id), low, high, kept: Object.fromEntries(clusters.map((c, j) => [c.id, kept[j]])) })
    soon()
  }

  // --- the picture
  const ready = new Map()
  function sheet(j) {   // decoded when first needed
    if (!ready.has(j)) { const im = new Image(); im.onload = soon; im.src = sheets.src[j]; ready.set(j, im) }
    const im = ready.get(j)
    return im.complete && im.naturalWidth ? im : null
  }
  const where = i => { const t = sheets ? data.tile(i) : -1, all = sheets ? sheets.across ** 2 : 1; return t < 0 ? null : [Math.floor(t / all), t % all % sheets.across * sheets.px, Math.floor(t % all / sheets.across) * sheets.px] }
  function picture(i, size) {   // of the page if it has a larger one, else from the sheet
    const own = tell.picture?.(i), at = !own && where(i)
    if (own) return own
    if (!at) return null
    const c = make('canvas', sheets.crisp ? 'px' : ''), put = () => c.getContext('2d').drawImage(ready.get(at[0]), at[1], at[2], sheets.px, sheets.px, 0, 0, sheets.px, sheets.px)
    c.width = c.height = sheets.px
    if (sheet(at[0])) put(); else ready.get(at[0]).addEventListener('load', put)
    return c
  }
  const shade = (hex, by) => `rgb(${[1, 3, 5].map(a => Math.min(255, Math.round(parseInt(hex.slice(a, a + 2), 16) * by)))})`
  function build() {   // every mark once, full and faint, so that a point is one copy of a few pixels
    const zoomed = Math.log2(k / k0()), r = (n > 4000 ? 2.6 : n > 800 ? 3.4 : 5) * one(W / 600, .7, 1.2) * Math.min(1.8, 1 + .16 * zoomed), cell = Math.ceil(2.5 * r * dpr) + 2, pop = +getComputedStyle(box).getPropertyValue('--pop') || 1
    if (atlas?.cell == cell && atlas.pop == pop) return
    const c = make('canvas'), a = c.getContext('2d')
    c.width = cell * clusters.length; c.height = 2 * cell
    if (c.width > 8000) { c.width = 8000; c.height = 2 * cell * Math.ceil(clusters.length * cell / 8000) }
    atlas = { c, cell, pop, r, across: Math.floor(c.width / cell) }
    clusters.forEach((d, j) => [1, .13].forEach((alpha, row) => {
      a.setTransform(r * dpr / 4, 0, 0, r * dpr / 4, (j % atlas.across + .5) * cell, (2 * Math.floor(j / atlas.across) + row + .5) * cell)
      a.globalAlpha = alpha; a.fillStyle = shade(d.colour, pop); a.fill(new Path2D(d.path))
    }))
  }
  const soon = () => { asked ||= requestAnimationFrame(draw) }
  function draw() {
    asked = 0
    if (!W) return
    build()
    const style = getComputedStyle(box), ink = style.color, back = style.backgroundColor, { c, cell, across } = atlas, K = k * dpr, X = tx * dpr, Y = ty * dpr, w = canvas.width, h = canvas.height
    const bright = i => on[i] && (held ? caught[i] : !marks || marks.has(data.at ? data.at(i) : i))
    g.setTransform(1, 0, 0, 1, 0, 0); g.clearRect(0, 0, w, h)
    const inside = []
    for (const pass of [0, 1]) for (const i of order) {
      if (!bright(i) == pass) continue
      const u = x[i] * K + X, v = y[i] * K + Y
      if (u < -cell || v < -cell || u > w + cell || v > h + cell) continue
      if (pass && inside.length <= 160) inside.push(i)
      const j = look[cluster[i]]
      g.drawImage(c, j % across * cell, (2 * Math.floor(j / across) + 1 - pass) * cell, cell, cell, Math.round(u - cell / 2), Math.round(v - cell / 2), cell, cell)
    }
    // few enough in view: the dots become the pictures
    large = sheets?.src.length && k > 2.5 * k0() && inside.length <= 160; side = inside.length > 40 ? 38 : 60
    g.setTransform(dpr, 0, 0, dpr, 0, 0); g.imageSmoothingEnabled = !sheets?.crisp
    if (large) for (const i of inside) {
      const at = where(i), im = at && sheet(at[0]), s = side, u = x[i] * k + tx - s / 2, v = y[i] * k + ty - s / 2
      if (!im) continue
      g.fillStyle = shade(clusters[look[cluster[i]]].colour, atlas.pop); g.fillRect(u - 2, v - 2, s + 4, s + 4); g.drawImage(im, at[1], at[2], sheets.px, sheets.px, u, v, s, s)
    }
    const ring = (i, width) => { g.lineWidth = width; g.strokeStyle = ink; g.beginPath(); if (large) g.rect(x[i] * k + tx - side / 2 - 3, y[i] * k + ty - side / 2 - 3, side + 6, side + 6); else g.arc(x[i] * k + tx, y[i] * k + ty, atlas.r + 2, 0, 7); g.stroke() }
    if (marks && marks.size <= 300 && !held) for (let i = 0; i < n; i++) if (bright(i)) ring(i, 1.2)
    g.font = `720 ${clusters.length <= 40 ? 15 : 11}px system-ui,sans-serif`; g.textAlign = 'center'; g.textBaseline = 'middle'; g.lineJoin = 'round'; g.lineWidth = 4; g.strokeStyle = back; g.fillStyle = ink
    clusters.forEach((d, j) => { if (!d.tag || large || only.size && !only.has(j)) return; const at = [d.number, d.tag[0] * k + tx, d.tag[1] * k + ty]; g.strokeText(...at); g.fillText(...at) })
    if (hot >= 0) ring(hot, 2.5)
    if (path) { g.beginPath(); path.forEach(([a, b]) => g.lineTo(a, b)); g.closePath(); g.globalAlpha = .12; g.fillStyle = ink; g.fill(); g.globalAlpha = 1; g.lineWidth = 1.6; g.strokeStyle = ink; g.stroke() }
  }

  // --- moving
  const top = one(Math.sqrt(n), 6, 80)   // a dozen images fill the view then
  const k0 = () => Math.min(W / data.width, H / data.height)
  function place(K, X, Y) {   // the middle of the view stays on the map
    k = one(K, k0(), top * k0())
    const room = (size, whole, t) => whole * k <= size ? (size - whole * k) / 2 : one(t, size / 2 - whole * k, size / 2)
    tx = room(W, data.width, X); ty = room(H, data.height, Y)
    canvas.dataset.zoom = (k / k0()).toFixed(2)
    // a page must scroll under a finger where there is nothing to move
    canvas.style.touchAction = lasso || k > 1.01 * k0() ? 'none' : 'pan-y'
    soon()
  }
  function zoom(by, u = W / 2, v = H / 2) { const K = one(k * by, k0(), top * k0()), q = K / k; hide(); place(K, u - (u - tx) * q, v - (v - ty) * q) }
  function fit() { hide(); k = k0(); place(k, 0, 0) }
  const move = (a, b) => place(k, tx + a, ty + b)
  function resize() {
    const r = stage.getBoundingClientRect(), before = W && [(W / 2 - tx) / k, (H / 2 - ty) / k, k / k0()]
    if (!r.width || r.width == W && r.height == H && dpr == devicePixelRatio) return
    W = r.width; H = r.height; dpr = Math.min(2, devicePixelRatio || 1); canvas.width = Math.round(W * dpr); canvas.height = Math.round(H * dpr)
    if (before && before[2] > 1.01) { k = before[2] * k0(); place(k, W / 2 - before[0] * k, H / 2 - before[1] * k) } else fit()
  }
  canvas.addEventListener('wheel', e => {
    const d = e.deltaY * [1, 16, 400][e.deltaMode]
    if (d > 0 && k <= k0() * 1.001 && !e.ctrlKey) return   // nothing to zoom out of: the page scrolls
    e.preventDefault(); zoom(Math.exp(-one(d, -300, 300) * (e.ctrlKey ? .01 : .002)), e.offsetX, e.offsetY)
    clearTimeout(later); later = setTimeout(() => hover(nearest(e.offsetX, e.offsetY), e.clientX, e.clientY), 160)
  }, { passive: false })

  // --- pointers: one drags or draws, two pinch
  const down = new Map(), spot = e => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top] }
  let start = null, tapped = -1
  canvas.addEventListener('pointerdown', e => {
    if (e.button) return
    down.set(e.pointerId, spot(e)); try { canvas.setPointerCapture(e.pointerId) } catch {}
    start = down.size == 1 ? { at: spot(e), moved: false } : { moved: true }
    path = down.size == 1 && (lasso || e.shiftKey) ? [spot(e)] : null
    if (path) { hide(); e.preventDefault(); canvas.focus({ preventScroll: true }) }
  })
  canvas.addEventListener('pointermove', e => {
    const at = spot(e), last = down.get(e.pointerId)
    if (!last) { if (e.pointerType != 'touch') hover(nearest(...at), e.clientX, e.clientY); return }
    if (!start.moved && Math.hypot(at[0] - start.at[0], at[1] - start.at[1]) < 4) return
    start.moved = true; hide()
    if (down.size == 2) {
      const other = [...down].find(([id]) => id != e.pointerId)[1], far = (a, b) => Math.max(8, Math.hypot(a[0] - b[0], a[1] - b[1]))
      const middle = a => [(a[0] + other[0]) / 2, (a[1] + other[1]) / 2], [a, b] = [middle(last), middle(at)]
      move(b[0] - a[0], b[1] - a[1]); zoom(far(at, other) / far(last, other), ...b)
    } else if (path) { path.push(at); soon() }
    else if (down.size == 1) { move(at[0] - last[0], at[1] - last[1]); canvas.classList.add('drags') }
    down.set(e.pointerId, at)
  })
  const up = e => {
    if (!down.delete(e.pointerId)) return
    canvas.classList.remove('drags')
    if (down.size) return
    if (path) { const drawn = path; path = null; setLasso(false); if (e.type == 'pointerup') catchIn(drawn); soon(); return }
    if (e.type != 'pointerup' || start.moved) return
    const i = nearest(...spot(e))
    // a finger cannot point without pressing: the first tap names the image, the second follows it
    if (e.pointerType == 'touch' && (i < 0 || i != tapped)) { tapped = i; hover(i, e.clientX, e.clientY) }
    else if (i >= 0) tell.open?.(clusters[cluster[i]].id)
  }
  canvas.addEventListener('pointerup', up); canvas.addEventListener('pointercancel', up)
  canvas.addEventListener('pointerleave', e => { if (!down.size && e.pointerType != 'touch') hide() })
  canvas.addEventListener('dblclick', e => { if (nearest(...spot(e)) < 0) fit() })

  // --- what lies under the pointer; a look at every point takes less than a millisecond
  function nearest(u, v, reach = large ? side / 2 + 4 : 14) {
    let best = -1, d = reach * reach
    for (let i = 0; i < n; i++) if (on[i]) { const a = x[i] * k + tx - u, b = y[i] * k + ty - v, q = a * a + b * b; if (q < d) { d = q; best = i } }
    return best
  }
  function hide() { clearTimeout(later); if (hot >= 0) { hot = -1; soon() } tip.hidden = true; tapped = -1 }
  function hover(i, u, v) {
    canvas.classList.toggle('points', i >= 0)
    if (i < 0) return hide()
    if (i != hot) {
      const c = clusters[cluster[i]], dot = make('i'); dot.style.background = shade(c.colour, +getComputedStyle(box).getPropertyValue('--pop') || 1)
      const line = make('span'); line.append(dot, c.title)
      const text = make('div'); text.append(make('b', '', data.name(i)), line, make('span', 'soft num', `confidence ${part(p[i])}`))
      tip.replaceChildren(...[picture(i), text].filter(Boolean)); hot = i; soon()
    }
    tip.hidden = false
    tip.style.left = `${one(u + 16, 4, Math.max(4, innerWidth - tip.offsetWidth - 8))}px`
    tip.style.top = `${v + tip.offsetHeight + 24 > innerHeight ? v - tip.offsetHeight - 12 : v + 16}px`
  }

  // --- the lasso, and its equal for the keyboard: all that is in view
  function setLasso(yes) { lasso = yes; lassoButton.setAttribute('aria-pressed', yes); canvas.classList.toggle('draws', yes); place(k, tx, ty); if (yes) say.textContent = 'Draw around the images you want. Escape ends it.' }
  lassoButton.setAttribute('aria-pressed', 'false')
  function catchIn(polygon) {
    const q = polygon.map(([a, b]) => [(a - tx) / k, (b - ty) / k]), found = []
    for (let i = 0; i < n; i++) {
      if (!on[i]) continue
      let odd = false
      for (let a = 0, b = q.length - 1; a < q.length; b = a++) if (q[a][1] > y[i] != q[b][1] > y[i] && x[i] < (q[b][0] - q[a][0]) * (y[i] - q[a][1]) / (q[b][1] - q[a][1]) + q[a][0]) odd = !odd
      if (odd) found.push(i)
    }
    show(found, 'The lasso holds', 'The lasso holds no image. Draw it around some of the marks.')
  }
  function listView() {
    const found = []
    for (let i = 0; i < n; i++) { const u = x[i] * k + tx, v = y[i] * k + ty; if (on[i] && u >= 0 && v >= 0 && u <= W && v <= H) found.push(i) }
    show(found, 'In view:', 'No image is in view. Press 0 to see the whole map.')
  }
  function close() { caught.fill(0); held = 0; list.hidden = true; list.replaceChildren(); soon() }
  function show(found, lead, none) {
    close(); hide(); say.textContent = ''
    if (!found.length) { say.textContent = none; return }
    held = found.length
    const by = new Map(); for (const i of found) { caught[i] = 1; by.set(cluster[i], (by.get(cluster[i]) || 0) + 1) }
    const parts = [...by].sort((a, b) => b[1] - a[1]), most3 = parts.slice(0, 3).map(([c, m]) => `${m.toLocaleString('en')} of ${clusters[c].title}`), rest = parts.length - most3.length
    found.sort((a, b) => by.get(cluster[b]) - by.get(cluster[a]) || cluster[a] - cluster[b] || a - b)
    const line = `${lead} ${some(found.length, 'image')}: ${most3.join(', ')}${rest > 0 ? ` and ${some(rest, 'other cluster')}` : ''}.`
    say.textContent = line
    const bar = make('div', 'tools'), ul = make('ul', 'grid'), names = found.map(i => data.name(i))
    bar.append(button('Copy names', 'Copy the names', '', () => copyText(names.join('\n')).then(ok => say.textContent = ok ? `Copied ${some(names.length, 'name')}.` : 'The browser did not allow to copy. Download the names instead.')),
      button('Download names', 'Download the names as a table', '', () => saveTable('images.csv', [['name', 'cluster', 'confidence'], ...found.map(i => [data.name(i), clusters[cluster[i]].number, (p[i] / 100).toFixed(2)])])),
      button('Close', 'Close the list', 'Escape', () => { close(); say.textContent = ''; canvas.focus({ preventScroll: true }) }))
    for (const i of found.slice(0, most)) {
      const li = make('li'), words = make('span'), im = picture(i)
      words.append(make('b', '', data.name(i)), make('span', 'soft', clusters[cluster[i]].title)); li.title = data.name(i); li.style.setProperty('--c', clusters[cluster[i]].colour)
      if (im) im.setAttribute('aria-hidden', 'true'); li.append(...[im, words].filter(Boolean)); ul.append(li)
    }
    list.append(bar, ul); if (found.length > most) list.append(make('p', 'soft small', `The first ${most} of ${found.length.toLocaleString('en')}; copy and download give all.`))
    list.hidden = false; soon()
  }

  // --- keys; the image nearest to the middle is the one a pointer would point at
  function middle() {
    const i = nearest(W / 2, H / 2, Math.min(W, H) / 3), r = canvas.getBoundingClientRect()
    if (i < 0) return hide()
    hover(i, r.left + x[i] * k + tx, r.top + y[i] * k + ty); clearTimeout(later)
    later = setTimeout(() => say.textContent = `${data.name(i)}, ${clusters[cluster[i]].title}, confidence ${part(p[i])}`, 350)
  }
  canvas.addEventListener('keydown', e => {
    if (e.altKey || e.ctrlKey || e.metaKey) return
    const step = e.shiftKey ? 160 : 60
    const act = { ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0), ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step), '+': () => zoom(1.4), '=': () => zoom(1.4), '-': () => zoom(1 / 1.4), _: () => zoom(1 / 1.4), 0: fit, Home: fit }[e.key]
    if (act) { e.preventDefault(); act(); middle() }
    else if (e.key == 'l' || e.key == 'L') setLasso(!lasso)
    else if (e.key == 'v' || e.key == 'V') listView()
    else if (e.key == 'Enter' && hot >= 0) tell.open?.(clusters[cluster[hot]].id)
    else if (e.key == 'Escape') { path = null; setLasso(false); hide(); close(); say.textContent = '' }
  })
  canvas.addEventListener('focus', () => { if (!down.size && canvas.matches(':focus-visible')) middle() }); canvas.addEventListener('blur', hide)
  addEventListener('scroll', hide, { passive: true })

  stage.append(canvas); box.replaceChildren(tools, stage, filters, say, list, tip)
  box.style.setProperty('--aspect', data.width / data.height)
  new ResizeObserver(resize).observe(stage); resize(); filter(true)
  matchMedia('(prefers-color-scheme:dark)').addEventListener('change', soon)
  new MutationObserver(soon).observe(document.documentElement, { attributes: true })
  return { count: n, only: setOnly, chosen: () => [...only].map(j => clusters[j].id), clear: () => { only.clear(); lower.value = 0; upper.value = 100; filter() },
    mark: set => { marks = set; soon() }, group: top => { const at = new Map(clusters.map((c, j) => [c.id, j])); clusters.forEach((c, j) => look[j] = at.get(top(c.id)) ?? j); soon() },
    at: i => { const r = canvas.getBoundingClientRect(); return [r.left + x[i] * k + tx, r.top + y[i] * k + ty] } }
}

// A page or a frame that is nothing but a map
function openMap() {
  const d = JSON.parse(document.getElementById('map-data').textContent), box = document.querySelector('.explore'), n = d.names.length
  const frame = (() => { try { return window.frameElement } catch { return null } })()
  if (frame) {   // looks like the page around it, and is as high as it needs to be
    const seen = getComputedStyle(frame.parentNode); let e = frame
    while (e && /^(transparent|rgba\(.*, 0\))$/.test(getComputedStyle(e).backgroundColor)) e = e.parentElement
    const back = e ? getComputedStyle(e).backgroundColor : 'Canvas', sum = (back.match(/\d+/g) || [255, 255, 255]).slice(0, 3).reduce((a, b) => a + +b, 0)
    document.documentElement.style.colorScheme = sum < 380 ? 'dark' : 'light'
    box.style.setProperty('--card', back); box.style.setProperty('--ink', seen.color); box.style.font = seen.font
    document.documentElement.style.overflow = 'hidden'   // a scroll bar would change the width, and so the height, for ever
    new ResizeObserver(() => frame.style.height = `${Math.ceil(box.getBoundingClientRect().height) + 2}px`).observe(box)
  }
  const places = bytesOf(d.places, Uint16Array), tile = d.tile && bytesOf(d.tile, Int32Array)
  const axis = a => Float32Array.from({ length: n }, (_, i) => places[2 * i + a] * d.step)
  if (n) box.explore = exploreMap(box, { ...d, n, x: axis(0), y: axis(1), cluster: bytesOf(d.cluster, Uint16Array), p: bytesOf(d.p, Uint8Array), name: i => d.names[i], tile: i => tile ? tile[i] : -1 })
  if (n && d.joins && d.joins.length > 1) groupSlider(box, d.joins)
}

// After the first `n` joins: a function from a cluster to the one that stands for its group
function groupOf(joins, n) {
  const parent = new Map(), top = id => parent.has(id) ? top(parent.get(id)) : id
  for (const [a, b] of joins.slice(0, n)) parent.set(top(`c${b}`), top(`c${a}`))
  return top
}

function groupWords(range) { return range.value == range.max ? 'each cluster by itself' : `${range.value} groups of ${range.max} clusters` }

// Coarser levels on a map that stands alone: clusters take the colour of their group
function groupSlider(box, joins) {
  const line = make('label', '', 'Groups '), range = make('input', 'groups'), said = make('output')
  Object.assign(range, { type: 'range', min: 2, max: joins.length + 1, value: joins.length + 1 })
  range.oninput = () => {
    box.explore.group(groupOf(joins, range.max - range.value))
    said.textContent = groupWords(range)
  }
  line.append(range, ' ', said); box.querySelector('.filters').append(line); range.oninput()
}

function bytesOf(text, Kind) { return new Kind(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer) }
async function copyText(text) {
  try { await navigator.clipboard.writeText(text); return true } catch {}
  const t = make('textarea'); t.value = text; t.style.position = 'fixed'; t.style.opacity = 0; document.body.append(t); t.select()
  try { return document.execCommand('copy') } catch { return false } finally { t.remove() }
}
function saveTable(name, rows) {
  const cell = v => {
    const text = /^[=+\-@\t\r]/.test(v) && typeof v === 'string' ? './' + v : String(v)   // no formula in a spreadsheet
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  const a = make('a'); a.href = URL.createObjectURL(new Blob([rows.map(r => r.map(cell).join(',') + '\n').join('')], { type: 'text/csv' })); a.download = name
  document.body.append(a); a.click(); a.remove(); setTimeout(() => URL.revokeObjectURL(a.href), 1000)
}
