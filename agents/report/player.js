"use strict";
// A player of recorded motions: `stage` is the element of player.html, `figure` what motion.py's figure_data returns.
// Returns null where the browser draws no WebGL 2, else what shows the motions of motion_data and moves in time.
function player(stage, figure) {
  const canvas = stage.querySelector("canvas");
  const gl = canvas.getContext("webgl2", { antialias: true, stencil: true });
  if (!gl) { stage.classList.add("no-webgl"); return null; }

  function bytes(text, Kind) {
    const raw = atob(text), view = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) view[i] = raw.charCodeAt(i);
    return new Kind(view.buffer);
  }

  // ---- quaternions xyzw, and 4 × 4 matrices by column -------------------------------------------------------------
  const mul = (a, b) => [
    a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1],
    a[3] * b[1] - a[0] * b[2] + a[1] * b[3] + a[2] * b[0],
    a[3] * b[2] + a[0] * b[1] - a[1] * b[0] + a[2] * b[3],
    a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2]];
  function matrix([x, y, z, w], [px, py, pz]) {
    return new Float32Array([
      1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w), 0,
      2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w), 0,
      2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y), 0,
      px, py, pz, 1]);
  }
  function turn(q, v) {
    const m = matrix(q, [0, 0, 0]);
    return [m[0] * v[0] + m[4] * v[1] + m[8] * v[2], m[1] * v[0] + m[5] * v[1] + m[9] * v[2], m[2] * v[0] + m[6] * v[1] + m[10] * v[2]];
  }
  function product(a, b) {
    const r = new Float32Array(16);
    for (let c = 0; c < 4; c++) for (let i = 0; i < 4; i++) {
      let s = 0;
      for (let k = 0; k < 4; k++) s += a[k * 4 + i] * b[c * 4 + k];
      r[c * 4 + i] = s;
    }
    return r;
  }
  const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const unit = a => { const n = Math.hypot(...a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
  function view(eye, target) {
    const z = unit(sub(eye, target)), x = unit(cross([0, 0, 1], z)), y = cross(z, x);
    return new Float32Array([x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0, -dot(x, eye), -dot(y, eye), -dot(z, eye), 1]);
  }
  function lens(angle, aspect, near, far) {
    const f = 1 / Math.tan(angle / 2), d = near - far;
    return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / d, -1, 0, 0, 2 * far * near / d, 0]);
  }

  // ---- drawing --------------------------------------------------------------------------------------------------------
  const VERTEX = `#version 300 es
  layout(location = 0) in vec3 place;
  layout(location = 1) in vec3 normal;
  uniform mat4 model, camera; uniform vec3 low, size, light; uniform bool flatten;
  out vec3 world, facing;
  void main() {
    world = (model * vec4(low + size * place, 1.0)).xyz;
    if (flatten) world = vec3(world.xy - light.xy * (world.z / light.z), 0.002);
    facing = mat3(model) * normal;
    gl_Position = camera * vec4(world, 1.0);
  }`;
  const FRAGMENT = `#version 300 es
  precision highp float;
  in vec3 world, facing; out vec4 result;
  uniform vec4 colour; uniform vec3 eye, light, background, ink; uniform vec2 middle; uniform int mode;
  float lines(vec2 p, float cell, float width) {
    vec2 q = p / cell, w = fwidth(q), d = abs(fract(q - 0.5) - 0.5);
    vec2 line = 1.0 - smoothstep(w * width * 0.5, w * (width * 0.5 + 1.0), d);
    return max(line.x, line.y) * clamp(0.45 / max(w.x, w.y), 0.0, 1.0);
  }
  void main() {
    if (mode == 1) { result = vec4(0.0, 0.0, 0.0, mix(0.5, 0.22, background.g) * (1.0 - smoothstep(1.5, 4.0, distance(world.xy, middle)))); return; }
    if (mode == 2) {
      float near = 1.0 - smoothstep(2.5, 9.0, distance(world.xy, middle));
      float shade = max(lines(world.xy, 1.0, 1.2) * 0.75, lines(world.xy, 0.25, 0.6) * 0.22);
      result = vec4(mix(background, ink, shade * near), 1.0); return;
    }
    vec3 n = dot(facing, facing) > 1e-9 ? normalize(facing) : normalize(cross(dFdx(world), dFdy(world)));
    vec3 toEye = normalize(eye - world);
    if (dot(n, toEye) < 0.0) n = -n;
    float key = max(dot(n, normalize(light)), 0.0), sky = 0.5 + 0.5 * n.z, rim = pow(1.0 - max(dot(n, toEye), 0.0), 3.0);
    vec3 base = pow(colour.rgb, vec3(2.2));
    vec3 lit = base * (0.30 + 0.34 * sky + 0.75 * key) + 0.07 * rim * (0.4 + sky) + 0.02 * key;
    result = vec4(pow(lit, vec3(1.0 / 2.2)), 1.0);
  }`;
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text); gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) console.error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program); gl.useProgram(program);
  const at = {};
  for (const name of ["model", "camera", "low", "size", "light", "flatten", "colour", "eye", "background", "ink", "middle", "mode"]) at[name] = gl.getUniformLocation(program, name);

  function upload(vertices, faces, type, normalised, low, size, colour, normals) {
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ARRAY_BUFFER, vertices, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0); gl.vertexAttribPointer(0, 3, type, normalised, 0, 0);
    if (normals) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ARRAY_BUFFER, normals, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(1); gl.vertexAttribPointer(1, 3, gl.BYTE, true, 4, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer()); gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
    return { array, count: faces.length, index: faces instanceof Uint32Array ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, low, size, colour };
  }
  for (const part of figure.parts) part.drawn = part.meshes.map(m => upload(
    bytes(m.vertices, Uint16Array), bytes(m.faces, m.wide ? Uint32Array : Uint16Array), gl.UNSIGNED_SHORT, true, m.low, m.size, m.colour, bytes(m.normals, Int8Array)));
  const floor = upload(new Float32Array([-1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 1, 0]), new Uint16Array([0, 1, 2, 0, 2, 3]), gl.FLOAT, false, [0, 0, 0], [1, 1, 1], [1, 1, 1, 1]);
  const arrow = (() => { // along x, its tip at the origin, one long
    const points = [], faces = [], N = 20, rings = [[-1, 0.018], [-0.16, 0.018], [-0.16, 0.05], [0, 0]];
    for (const [x, r] of rings) for (let i = 0; i < N; i++) points.push(x, r * Math.cos(i / N * 2 * Math.PI), r * Math.sin(i / N * 2 * Math.PI));
    for (let k = 0; k < rings.length - 1; k++) for (let i = 0; i < N; i++) {
      const a = k * N + i, b = k * N + (i + 1) % N;
      faces.push(a, b, a + N, b, b + N, a + N);
    }
    return upload(new Float32Array(points), new Uint16Array(faces), gl.FLOAT, false, [0, 0, 0], [1, 1, 1], [0.9, 0.3, 0.13, 1]);
  })();

  const ball = (() => { // radius one; its normals are left to the fragment shader
    const points = [], faces = [], N = 16, M = 8;
    for (let i = 0; i <= M; i++) for (let k = 0; k < N; k++) {
      const u = i / M * Math.PI, v = k / N * 2 * Math.PI;
      points.push(Math.sin(u) * Math.cos(v), Math.sin(u) * Math.sin(v), Math.cos(u));
      const a = i * N + k, b = i * N + (k + 1) % N;
      if (i < M) faces.push(a, b, a + N, b, b + N, a + N);
    }
    return upload(new Float32Array(points), new Uint16Array(faces), gl.FLOAT, false, [0, 0, 0], [1, 1, 1], [1, 1, 1, 1]);
  })();

  function draw(mesh, model, mode, size, colour) {
    gl.uniformMatrix4fv(at.model, false, model);
    gl.uniform3fv(at.low, mesh.low); gl.uniform3fv(at.size, size || mesh.size); gl.uniform4fv(at.colour, colour || mesh.colour);
    gl.uniform1i(at.mode, mode);
    gl.bindVertexArray(mesh.array); gl.drawElements(gl.TRIANGLES, mesh.count, mesh.index, 0);
  }

  // ---- motion ---------------------------------------------------------------------------------------------------------
  let motions = [], motion = null, time = 0, playing = false, pace = 1, shown = null;
  const sight = { yaw: -0.75, pitch: 0.2, far: 3.1 * figure.height };
  let middle = null, lift = 0;
  function choose(index) {
    motion = motions[index];
    if (!motion.p) {
      motion.p = bytes(motion.position, Float32Array); motion.q = bytes(motion.orientation, Int16Array); motion.a = bytes(motion.angles, Int16Array);
    }
    for (const one of motion.points || []) one.p ??= bytes(one.place, Float32Array);
    time = 0; middle = null;
    lift = Math.max(motion.p[2] - figure.height, 0); // of a robot on a stand
    range.max = motion.seconds;
    marks.replaceChildren(...motion.pushes.map(([t]) => { const i = document.createElement("i"); i.style.left = `${100 * t / motion.seconds}%`; return i; }));
    const heading = [motion.q[0], motion.q[1], motion.q[2], motion.q[3]].map(x => x / 32767);
    const front = turn(heading, [1, 0, 0]);
    sight.yaw = Math.atan2(front[1], front[0]) - 0.55;
  }
  function poses() {
    const last = motion.count - 1, exact = Math.min(Math.max(time / motion.step, 0), last);
    const i = Math.min(Math.floor(exact), Math.max(last - 1, 0)), j = Math.min(i + 1, last), f = exact - i;
    const mix = (array, width, k) => array[i * width + k] * (1 - f) + array[j * width + k] * f;
    const base = [0, 1, 2].map(k => mix(motion.p, 3, k));
    let sign = 0;
    for (let k = 0; k < 4; k++) sign += motion.q[i * 4 + k] * motion.q[j * 4 + k];
    let q = [0, 1, 2, 3].map(k => motion.q[i * 4 + k] * (1 - f) + motion.q[j * 4 + k] * f * (sign < 0 ? -1 : 1));
    const n = Math.hypot(...q); q = q.map(x => x / n);
    const found = [];
    for (const part of figure.parts) {
      if (part.parent < 0) { found.push([base, q]); continue; }
      const [p0, q0] = found[part.parent], offset = turn(q0, part.position);
      const angle = mix(motion.a, motion.joints, part.joint) * Math.PI / 32767, s = Math.sin(angle / 2);
      if (part.slides) {
        const turned = mul(q0, part.orientation), along = turn(turned, part.axis);
        found.push([[0, 1, 2].map(k => p0[k] + offset[k] + along[k] * angle), turned]);
        continue;
      }
      const about = [part.axis[0] * s, part.axis[1] * s, part.axis[2] * s, Math.cos(angle / 2)];
      found.push([[p0[0] + offset[0], p0[1] + offset[1], p0[2] + offset[2]], mul(mul(q0, part.orientation), about)]);
    }
    const places = (motion.points || []).map(one => [0, 1, 2].map(k => mix(one.p, 3, k)));
    return { found, base, places, tilt: motion.tilt[Math.round(exact)] };
  }

  // ---- frame ----------------------------------------------------------------------------------------------------------
  const style = () => {
    const css = getComputedStyle(stage), hex = name => { const v = css.getPropertyValue(name).trim(); return [1, 3, 5].map(i => parseInt(v.slice(i, i + 2), 16) / 255); };
    const series = [1, 2, 3, 4, 5, 6, 7, 0].map(i => [...hex(`--c${i}`), 1]);
    return { background: hex("--stage"), ink: hex("--stage-line"), series };
  };
  let colours = style();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colours = style(); render(); });
  const LIGHT = [0.45, -0.5, 1.0];
  function render() {
    if (!motion) return;
    const scale = Math.min(devicePixelRatio || 1, 2), width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const { found, base, places, tilt } = poses();
    middle = middle ? [middle[0] + 0.08 * (base[0] - middle[0]), middle[1] + 0.08 * (base[1] - middle[1])] : [base[0], base[1]];
    const target = [middle[0], middle[1], 0.78 * figure.height + lift], c = Math.cos(sight.pitch);
    const eye = [target[0] + sight.far * c * Math.cos(sight.yaw), target[1] + sight.far * c * Math.sin(sight.yaw), target[2] + sight.far * Math.sin(sight.pitch)];
    const camera = product(lens(0.62, width / Math.max(height, 1), 0.05, 60), view(eye, target));
    gl.viewport(0, 0, width, height);
    gl.clearColor(...colours.background, 1); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT | gl.STENCIL_BUFFER_BIT);
    gl.uniformMatrix4fv(at.camera, false, camera);
    gl.uniform3fv(at.eye, eye); gl.uniform3fv(at.light, LIGHT); gl.uniform3fv(at.background, colours.background); gl.uniform3fv(at.ink, colours.ink);
    gl.uniform2fv(at.middle, middle); gl.uniform1i(at.flatten, 0);
    gl.enable(gl.DEPTH_TEST);
    draw(floor, matrix([0, 0, 0, 1], [middle[0], middle[1], 0]), 2, [14, 14, 1]);
    const bodies = figure.parts.map((part, i) => [part, matrix(found[i][1], found[i][0])]);
    // Shadows: every mesh flattened onto the floor, each pixel darkened once.
    gl.enable(gl.BLEND); gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.STENCIL_TEST); gl.stencilFunc(gl.EQUAL, 0, 255); gl.stencilOp(gl.KEEP, gl.KEEP, gl.INCR); gl.depthMask(false);
    gl.uniform1i(at.flatten, 1);
    for (const [part, model] of bodies) for (const mesh of part.drawn) draw(mesh, model, 1);
    gl.uniform1i(at.flatten, 0);
    gl.depthMask(true); gl.disable(gl.STENCIL_TEST); gl.disable(gl.BLEND);
    for (const [part, model] of bodies) for (const mesh of part.drawn) draw(mesh, model, 0);
    places.forEach((place, i) => draw(ball, matrix([0, 0, 0, 1], place), 0, [0.022, 0.022, 0.022], colours.series[i % colours.series.length]));
    const push = motion.pushes.find(([t]) => time >= t && time < t + 0.7);
    if (push) {
      const [, x, y] = push, speed = Math.hypot(x, y), heading = Math.atan2(y, x), gap = 0.14;
      const tip = [base[0] - gap * Math.cos(heading), base[1] - gap * Math.sin(heading), base[2] + 0.25];
      draw(arrow, matrix([0, 0, Math.sin(heading / 2), Math.cos(heading / 2)], tip), 0, [1.2 * speed, 1, 1]);
      now.textContent = `push ${speed.toFixed(2)} m/s`;
    }
    now.classList.toggle("on", Boolean(push));
    clock.textContent = `${time.toFixed(2)} s`; lean.textContent = `tilt ${tilt.toFixed(1)}°`;
    range.value = time;
  }

  // ---- controls -------------------------------------------------------------------------------------------------------
  const find = selector => stage.querySelector(selector);
  const range = find("input"), marks = find(".pushes"), play = find(".play"), list = find(".episode"), speed = find(".speed");
  const clock = find(".clock"), lean = find(".tilt"), now = find(".now");
  function tick(stamp) {
    if (!playing) return;
    const elapsed = shown === null ? 0 : Math.min((stamp - shown) / 1000, 0.1);
    shown = stamp; time += elapsed * pace;
    if (time >= motion.seconds) { time = motion.seconds; run(false); }
    render();
    requestAnimationFrame(tick);
  }
  function run(on) {
    if (on && time >= motion.seconds) { time = 0; middle = null; }
    playing = on; shown = null; play.textContent = on ? "Pause" : "Play";
    if (on) requestAnimationFrame(tick);
  }
  play.addEventListener("click", () => run(!playing));
  range.addEventListener("input", () => { time = Number(range.value); middle = null; render(); });
  list.addEventListener("change", () => { choose(Number(list.value)); render(); });
  speed.addEventListener("change", () => { pace = Number(speed.value); });
  let held = null;
  canvas.addEventListener("pointerdown", e => { held = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointermove", e => {
    if (!held) return;
    look((held[0] - e.clientX) * 0.008, (e.clientY - held[1]) * 0.006); held = [e.clientX, e.clientY];
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { held = null; });
  function look(yaw, pitch, factor = 1) {
    sight.yaw += yaw; sight.pitch = Math.min(Math.max(sight.pitch + pitch, -0.05), 1.4); sight.far = Math.min(Math.max(sight.far * factor, 0.8), 9);
    if (!playing) render();
  }
  const KEYS = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.08], ArrowDown: [0, -0.08], "+": [0, 0, 0.9], "=": [0, 0, 0.9], "-": [0, 0, 1.1] };
  canvas.addEventListener("keydown", e => {
    if (e.key === " ") { run(!playing); e.preventDefault(); }
    if (KEYS[e.key]) { look(...KEYS[e.key]); e.preventDefault(); }
  });
  canvas.addEventListener("wheel", e => { if (document.activeElement === canvas) { look(0, 0, Math.exp(e.deltaY * 0.001)); e.preventDefault(); } }, { passive: false });
  new ResizeObserver(() => render()).observe(canvas);
  function show(given) {
    run(false);
    motions = given;
    list.replaceChildren(...motions.map((m, i) => new Option(`seed ${m.seed} · ${m.success ? m.result : `${m.result} after ${m.seconds.toFixed(1)} s`}`, i)));
    const first = Math.max(motions.findIndex(m => "start" in m), 0);
    list.value = first; choose(first); time = motion.start || 0; render();
  }
  return { show, run, seek: t => { time = t; middle = null; render(); } };
}
