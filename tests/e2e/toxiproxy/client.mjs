// Drives toxiproxy's API by toxiproxy-node-client.
// Usage: client.mjs API UPSTREAM    UPSTREAM is an echo server

import assert from "node:assert/strict";
import net from "node:net";
import client from "toxiproxy-node-client";

const [, , api, upstream] = process.argv;
const toxiproxy = new client.Toxiproxy(api);

/** The duration of an echo in milliseconds; rejects if the connection ends without one. */
function echo(listen) {
  const [host, port] = listen.split(/:(?=\d+$)/);
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), host, () => socket.write("ping"));
    socket.on("data", () => { resolve(performance.now() - began); socket.destroy(); });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed")));
    socket.setTimeout(3000, () => { reject(new Error("silent")); socket.destroy(); });
  });
}

assert.match(await toxiproxy.getVersion(), /2\.\d+\.\d+/);
const proxy = await toxiproxy.createProxy({ name: "node_proxy", listen: "127.0.0.1:0", upstream });
assert.deepEqual([proxy.name, proxy.upstream, proxy.enabled], ["node_proxy", upstream, true]);
await echo(proxy.listen);
await assert.rejects(toxiproxy.createProxy({ name: "node_proxy", listen: "127.0.0.1:0", upstream }), /already exists|409/);

const latency = await proxy.addToxic({ attributes: { latency: 100, jitter: 0 }, name: "slow", stream: "downstream", toxicity: 1, type: "latency" });
assert(await echo(proxy.listen) >= 100);
const faster = await latency.update({ attributes: { latency: 20, jitter: 0 }, name: "slow", stream: "downstream", toxicity: 1, type: "latency" });
assert.equal(faster.attributes.latency, 20);
assert.equal((await proxy.getToxic("slow")).attributes.latency, 20);
await latency.remove();
await assert.rejects(proxy.getToxic("slow"), /not found|404/);

for (const toxic of [
  { type: "bandwidth", attributes: { rate: 1000 } },
  { type: "slow_close", attributes: { delay: 10 } },
  { type: "slicer", attributes: { average_size: 2, size_variation: 1, delay: 10 } },
]) {
  const added = await proxy.addToxic({ name: toxic.type, stream: "upstream", toxicity: 1, ...toxic });
  assert.deepEqual(added.attributes, toxic.attributes);
}
await echo(proxy.listen);
await toxiproxy.reset();
for (const toxic of [
  { type: "timeout", attributes: { timeout: 50 } },
  { type: "reset_peer", attributes: { timeout: 50 } },
  { type: "limit_data", attributes: { bytes: 0 } },
]) {
  const added = await proxy.addToxic({ name: toxic.type, stream: "downstream", toxicity: 1, ...toxic });
  await assert.rejects(echo(proxy.listen), /closed|ECONNRESET/, toxic.type);
  await added.remove();
}

const moved = await proxy.update({ enabled: false, listen: proxy.listen, upstream });
assert.equal(moved.enabled, false);
await assert.rejects(echo(proxy.listen), /ECONNREFUSED|ECONNRESET/);
await toxiproxy.reset();
await echo(proxy.listen);

const all = await toxiproxy.populate([{ name: "one", listen: "127.0.0.1:0", upstream }, { name: "two", listen: "127.0.0.1:0", upstream }]);
assert.deepEqual(Object.keys(all), ["one", "two"]);
assert.deepEqual(Object.keys(await toxiproxy.getAll()).sort(), ["node_proxy", "one", "two"]);
for (const known of Object.values(await toxiproxy.getAll())) await known.remove();
assert.deepEqual(await toxiproxy.getAll(), {});
console.log("toxiproxy-node-client: ok");
