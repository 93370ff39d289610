"use strict";

// Draws both clouds with WebGL 2: points into a texture, then that texture with edges of depth made darker (eye-dome
// lighting), then the matches. Matrices are row by row, as in the page's data.

const POINT_VERTEX = `#version 300 es
uniform mat4 clip_from_points;
uniform float size;
uniform float usual_distance;
in vec3 point;
in float residual;
out float of_scale;
void main() {
  gl_Position = clip_from_points * vec4(point, 1.0);
  gl_PointSize = size * clamp(usual_distance / gl_Position.w, 0.6, 4.0);
  of_scale = residual;
}`;

const POINT_FRAGMENT = `#version 300 es
precision highp float;
uniform vec3 plain;
uniform vec3 alone;
uniform vec3 ramp[5];
uniform bool by_residual;
in float of_scale;
out vec4 colour;
vec3 ramp_at(float share) {
  float place = clamp(share, 0.0, 1.0) * 4.0;
  int below = min(int(place), 3);
  return mix(ramp[below], ramp[below + 1], place - float(below));
}
void main() {
  vec2 from_centre = 2.0 * gl_PointCoord - 1.0;
  if (dot(from_centre, from_centre) > 1.0) discard;
  vec3 shown = plain;
  if (by_residual) shown = of_scale > 254.5 ? alone : ramp_at(of_scale / 253.0);
  colour = vec4(shown, 1.0);
}`;

const SHADE_VERTEX = `#version 300 es
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  gl_Position = vec4(4.0 * corner - 1.0, 0.0, 1.0);
}`;

const SHADE_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D colours;
uniform highp sampler2D depths;
uniform vec2 near_far;
uniform vec3 background;
uniform int reach;
out vec4 colour;
float log_distance(ivec2 pixel) {
  float depth = texelFetch(depths, clamp(pixel, ivec2(0), textureSize(depths, 0) - 1), 0).r;
  if (depth >= 1.0) return 1e9;
  return log2(near_far.x * near_far.y / (near_far.y - depth * (near_far.y - near_far.x)));
}
void main() {
  ivec2 pixel = ivec2(gl_FragCoord.xy);
  float here = log_distance(pixel);
  if (here > 1e8) { colour = vec4(background, 1.0); return; }
  float nearer = max(0.0, here - log_distance(pixel + ivec2(reach, 0)))
               + max(0.0, here - log_distance(pixel - ivec2(reach, 0)))
               + max(0.0, here - log_distance(pixel + ivec2(0, reach)))
               + max(0.0, here - log_distance(pixel - ivec2(0, reach)));
  float light = max(0.3, exp(-30.0 * nearer));
  colour = vec4(texelFetch(colours, pixel, 0).rgb * light, 1.0);
}`;

const LINE_VERTEX = `#version 300 es
uniform mat4 clip_from_shown;
uniform mat4 clip_from_source;
uniform vec2 half_pixels;
uniform float width;
in vec3 source_end;
in vec3 target_end;
void main() {
  vec4 a = clip_from_source * vec4(source_end, 1.0);
  vec4 b = clip_from_shown * vec4(target_end, 1.0);
  if (min(a.w, b.w) <= 0.0) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  vec2 from = a.xy / a.w * half_pixels;
  vec2 to = b.xy / b.w * half_pixels;
  vec2 along = length(to - from) > 1e-3 ? normalize(to - from) : vec2(1.0, 0.0);
  vec2 across = vec2(-along.y, along.x);
  bool at_start = gl_VertexID < 2;
  // A match whose ends meet is still a dot.
  vec2 corner = (at_start ? from - along * width : to + along * width)
              + across * width * (gl_VertexID % 2 == 0 ? 1.0 : -1.0);
  gl_Position = vec4(corner / half_pixels, 0.0, 1.0);
}`;

const LINE_FRAGMENT = `#version 300 es
precision mediump float;
uniform vec4 shown;
out vec4 colour;
void main() { colour = vec4(shown.rgb * shown.a, shown.a); }`;

const FIELD_OF_VIEW = 0.6;
const FIRST_TURN = { azimuth: 0.52, elevation: 0.6 };
const TRANSITION_MS = 900;

function decode(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
}

function unpack(cloud) {
  const numbers = new DataView(decode(cloud.points));
  return Float32Array.from({ length: 3 * cloud.shown }, (_, i) =>
    cloud.low[i % 3] + cloud.step[i % 3] * numbers.getUint16(2 * i, true));
}

function unpackFloats(base64) {
  const numbers = new DataView(decode(base64));
  return Float32Array.from({ length: numbers.byteLength / 4 }, (_, i) => numbers.getFloat32(4 * i, true));
}

function multiply(a, b) {
  return a.map((row) => [0, 1, 2, 3].map((c) => row.reduce((sum, x, k) => sum + x * b[k][c], 0)));
}

function columnMajor(matrix) {
  return new Float32Array([0, 1, 2, 3].flatMap((c) => matrix.map((row) => row[c])));
}

// Rotation matrix to quaternion [w, x, y, z] (Shepperd's method).
function quaternion(m) {
  const trace = m[0][0] + m[1][1] + m[2][2];
  const candidates = [trace, m[0][0], m[1][1], m[2][2]];
  const largest = candidates.indexOf(Math.max(...candidates));
  const skew = [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]];
  const [xy, xz, yz] = [m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]];
  const rows = [
    [1 + trace, ...skew],
    [skew[0], 1 + 2 * m[0][0] - trace, xy, xz],
    [skew[1], xy, 1 + 2 * m[1][1] - trace, yz],
    [skew[2], xz, yz, 1 + 2 * m[2][2] - trace],
  ];
  const length = Math.hypot(...rows[largest]);
  return rows[largest].map((q) => q / length);
}

function slerp(a, b, t) {
  const cosine = a.reduce((sum, q, k) => sum + q * b[k], 0);
  const nearer = cosine < 0 ? b.map((q) => -q) : b;
  const angle = Math.acos(Math.min(1, Math.abs(cosine)));
  if (angle < 1e-6) return nearer;
  const [of_a, of_b] = [Math.sin((1 - t) * angle), Math.sin(t * angle)].map((s) => s / Math.sin(angle));
  return a.map((q, k) => of_a * q + of_b * nearer[k]);
}

function mix(a, b, t) {
  return a.map((x, k) => x + t * (b[k] - x));
}

// The place of the source at `t` between before (0) and after (1).
function placeBetween(before, after, t) {
  const [w, x, y, z] = slerp(quaternion(before), quaternion(after), t);
  const shift = mix(before.map((row) => row[3]), after.map((row) => row[3]), t);
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), shift[0]],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), shift[1]],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), shift[2]],
    [0, 0, 0, 1],
  ];
}

function buildProgram(gl, vertex, fragment) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(gl.getProgramInfoLog(program));
  }
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); i++) {
    const name = gl.getActiveUniform(program, i).name.replace("[0]", "");
    uniforms[name] = gl.getUniformLocation(program, name);
  }
  return { program, uniforms, attribute: (name) => gl.getAttribLocation(program, name) };
}

function buffer(gl, data) {
  const made = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, made);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
  return made;
}

class Viewer {
  /** Throws where there is no WebGL 2. After every picture `drawn` is told how long a pixel at its middle is. */
  constructor(canvas, data, drawn) {
    this.drawn = drawn;
    this.canvas = canvas;
    this.data = data;
    this.gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!this.gl) throw new Error("no WebGL 2");
    this.shares = Object.fromEntries(
      Object.entries(data.colours).filter(([name]) => name !== "ramp").map(([name, c]) => [name, c.map((x) => x / 255)]));
    this.progress = 1;
    this.goal = 1;
    this.byDistance = false;
    this.matches = "inliers";
    this.size = 3;
    this.build();
    this.resetView();
    new ResizeObserver(() => this.redraw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
    this.listen();
  }

  build() {
    const { gl, data } = this;
    this.points = buildProgram(gl, POINT_VERTEX, POINT_FRAGMENT);
    this.shade = buildProgram(gl, SHADE_VERTEX, SHADE_FRAGMENT);
    this.lines = buildProgram(gl, LINE_VERTEX, LINE_FRAGMENT);
    const residuals = new Uint8Array(decode(data.residuals.of_points));
    this.source = this.cloud(unpack(data.source), residuals);
    this.target = this.cloud(unpack(data.target), new Uint8Array(data.target.shown));
    this.ends = buffer(gl, unpackFloats(data.matches.ends));
    this.empty = gl.createVertexArray();
    this.lineArray = gl.createVertexArray();
    this.frame = gl.createFramebuffer();
    this.colours = gl.createTexture();
    this.depths = gl.createTexture();
  }

  cloud(points, residuals) {
    const { gl } = this;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const attribute = (name, values, count, kind) => {
      buffer(gl, values);
      gl.enableVertexAttribArray(this.points.attribute(name));
      gl.vertexAttribPointer(this.points.attribute(name), count, kind, false, 0, 0);
    };
    attribute("point", points, 3, gl.FLOAT);
    attribute("residual", residuals, 1, gl.UNSIGNED_BYTE);
    return { array, count: points.length / 3 };
  }

  resetView() {
    this.turn = { ...FIRST_TURN };
    this.zoom = 1;
    this.shift = [0, 0, 0];
    this.redraw();
  }

  setPlace(after) {
    this.goal = after ? 1 : 0;
    this.origin = this.progress;
    this.since = null;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.progress = this.goal;
    this.redraw();
  }

  setColour(byDistance) { this.byDistance = byDistance; this.redraw(); }
  setMatches(which) { this.matches = which; this.redraw(); }
  setSize(size) { this.size = size; this.redraw(); }

  redraw() {
    this.canvas.dataset.idle = "no";
    this.request ??= requestAnimationFrame((now) => {
      this.request = null;
      this.advance(now);
      this.draw();
      if (this.progress !== this.goal) this.redraw();
      else this.canvas.dataset.idle = "yes";
    });
  }

  advance(now) {
    if (this.progress === this.goal) return;
    this.since ??= now;
    const share = Math.min(1, (now - this.since) / TRANSITION_MS);
    const eased = share * share * (3 - 2 * share);
    this.progress = share === 1 ? this.goal : this.origin + eased * (this.goal - this.origin);
  }

  // Where the eye is: its axes (right, up, back), its place, and what it looks at.
  eye() {
    const [before, after] = this.data.views;
    const radius = before.radius + this.progress * (after.radius - before.radius);
    const middle = mix(before.centre, after.centre, this.progress);
    const { azimuth, elevation } = this.turn;
    const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
    const axes = [[ca, sa, 0], [-sa * se, ca * se, ce], [sa * ce, -ca * ce, se]];
    const centre = middle.map((x, k) => x + this.shift[k] * radius);
    const aspect = this.canvas.width / this.canvas.height;
    const usual = 0.95 * radius / Math.sin(FIELD_OF_VIEW / 2) / Math.min(1, aspect);
    return { axes, centre, radius, usual, distance: usual * this.zoom, aspect };
  }

  clipFromShown(eye) {
    const near = Math.max(eye.distance - 6 * eye.radius, 0.02 * eye.distance);
    const far = eye.distance + 8 * eye.radius;
    const place = eye.centre.map((x, k) => x + eye.axes[2][k] * eye.distance);
    const view = [...eye.axes.map((axis) => [...axis, -axis.reduce((sum, x, k) => sum + x * place[k], 0)]), [0, 0, 0, 1]];
    const focal = 1 / Math.tan(FIELD_OF_VIEW / 2);
    const projection = [
      [focal / eye.aspect, 0, 0, 0],
      [0, focal, 0, 0],
      [0, 0, (far + near) / (near - far), 2 * far * near / (near - far)],
      [0, 0, -1, 0],
    ];
    return { matrix: multiply(projection, view), near, far };
  }

  fit() {
    const { canvas } = this;
    // Twice as many pixels as the screen shows smooth the edges.
    this.ratio = Math.min(2, Math.max(1.5, devicePixelRatio));
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((x) => Math.max(1, Math.round(x * this.ratio)));
    if (canvas.width === width && canvas.height === height && this.fitted) return;
    Object.assign(canvas, { width, height });
    const { gl } = this;
    const texture = (made, inner, format, kind) => {
      gl.bindTexture(gl.TEXTURE_2D, made);
      gl.texImage2D(gl.TEXTURE_2D, 0, inner, width, height, 0, format, kind, null);
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, filter, gl.NEAREST);
      for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    };
    texture(this.colours, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE);
    texture(this.depths, gl.DEPTH_COMPONENT24, gl.DEPTH_COMPONENT, gl.UNSIGNED_INT);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.colours, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, this.depths, 0);
    this.fitted = true;
  }

  draw() {
    this.fit();
    const { gl, canvas, data } = this;
    const eye = this.eye();
    const shown = this.clipFromShown(eye);
    const place = placeBetween(data.views[0].place, data.views[1].place, this.progress);
    const clip = { shown: columnMajor(shown.matrix), source: columnMajor(multiply(shown.matrix, place)) };
    gl.viewport(0, 0, canvas.width, canvas.height);
    this.drawPoints(clip, eye);
    this.drawShaded(shown);
    this.drawMatches(clip);
    this.drawn(this.lengthOfPixel(eye));
  }

  lengthOfPixel(eye) {
    return 2 * eye.distance * Math.tan(FIELD_OF_VIEW / 2) / this.canvas.clientHeight;
  }

  drawPoints(clip, eye) {
    const { gl, points: { program, uniforms }, shares } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.enable(gl.DEPTH_TEST);
    gl.disable(gl.BLEND);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.useProgram(program);
    gl.uniform1f(uniforms.size, this.size * this.ratio);
    gl.uniform1f(uniforms.usual_distance, eye.usual);
    gl.uniform3fv(uniforms.alone, shares.alone);
    gl.uniform3fv(uniforms.ramp, this.data.colours.ramp.flat().map((x) => x / 255));
    const drawCloud = (cloud, matrix, colour, byResidual) => {
      gl.uniformMatrix4fv(uniforms.clip_from_points, false, matrix);
      gl.uniform3fv(uniforms.plain, colour);
      gl.uniform1i(uniforms.by_residual, byResidual ? 1 : 0);
      gl.bindVertexArray(cloud.array);
      gl.drawArrays(gl.POINTS, 0, cloud.count);
    };
    drawCloud(this.target, clip.shown, this.byDistance ? shares.backdrop : shares.target, false);
    drawCloud(this.source, clip.source, shares.source, this.byDistance);
  }

  drawShaded({ near, far }) {
    const { gl, shade: { program, uniforms } } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(program);
    [this.colours, this.depths].forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform1i(uniforms.colours, 0);
    gl.uniform1i(uniforms.depths, 1);
    gl.uniform2f(uniforms.near_far, near, far);
    gl.uniform1i(uniforms.reach, Math.round(this.ratio));
    const [red, green, blue] = getComputedStyle(this.canvas).backgroundColor.match(/\d+/g).map((x) => x / 255);
    gl.uniform3f(uniforms.background, red, green, blue);
    gl.bindVertexArray(this.empty);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  drawMatches(clip) {
    const { gl, lines: { program, uniforms }, canvas, shares, data: { matches } } = this;
    if (this.matches === "none") return;
    gl.useProgram(program);
    gl.uniformMatrix4fv(uniforms.clip_from_shown, false, clip.shown);
    gl.uniformMatrix4fv(uniforms.clip_from_source, false, clip.source);
    gl.uniform2f(uniforms.half_pixels, canvas.width / 2, canvas.height / 2);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (this.matches === "all") this.drawLines(matches.inliers, matches.shown, shares.outlier, 0.25, 0.5);
    this.drawLines(0, matches.inliers, shares.inlier, 0.5, 0.6);
  }

  drawLines(first, end, colour, alpha, width) {
    const { gl, lines: { uniforms, attribute } } = this;
    if (first === end) return;
    gl.bindVertexArray(this.lineArray);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.ends);
    [["source_end", 0], ["target_end", 12]].forEach(([name, offset]) => {
      const place = attribute(name);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 24, 24 * first + offset);
      gl.vertexAttribDivisor(place, 1);
    });
    gl.uniform4f(uniforms.shown, ...colour, alpha);
    gl.uniform1f(uniforms.width, width * this.ratio);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, end - first);
  }

  // Turning and zooming

  listen() {
    const { canvas } = this;
    const fingers = new Map();
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, event);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    }
    canvas.addEventListener("pointermove", (event) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const [dx, dy] = [event.clientX - last.clientX, event.clientY - last.clientY];
      if (fingers.size === 2) {
        const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
        const apart = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
        this.zoomBy(apart(last) / Math.max(1, apart(event)));
        this.moveBy(dx / 2, dy / 2);
      } else if (event.shiftKey || event.buttons !== 1) {
        this.moveBy(dx, dy);
      } else {
        this.turnBy(-0.008 * dx, 0.008 * dy);
      }
      fingers.set(event.pointerId, event);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(0.0015 * event.deltaY * (event.deltaMode === 1 ? 20 : 1)));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const actions = {
        ArrowLeft: () => this.turnBy(0.1, 0), ArrowRight: () => this.turnBy(-0.1, 0),
        ArrowUp: () => this.turnBy(0, -0.1), ArrowDown: () => this.turnBy(0, 0.1),
        "+": () => this.zoomBy(0.9), "=": () => this.zoomBy(0.9), "-": () => this.zoomBy(1.1),
      };
      if (!actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    });
  }

  turnBy(azimuth, elevation) {
    this.turn.azimuth += azimuth;
    this.turn.elevation = Math.min(Math.PI / 2, Math.max(-Math.PI / 2, this.turn.elevation + elevation));
    this.redraw();
  }

  zoomBy(factor) {
    this.zoom = Math.min(8, Math.max(0.02, this.zoom * factor));
    this.redraw();
  }

  moveBy(dx, dy) {
    const eye = this.eye();
    const length = this.lengthOfPixel(eye) / eye.radius;
    this.shift = this.shift.map((x, k) => x + length * (dy * eye.axes[1][k] - dx * eye.axes[0][k]));
    this.redraw();
  }
}
