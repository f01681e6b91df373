import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ProbesimError, Service, container, start } from "../../../clients/typescript/probesim.js";

let service: Service;
before(async () => {
  service = await start();
});
after(() => service.close());

const status = async (path: string, at = service) => (await fetch(at.url + path)).status;

test("a fault lasts as long as its function, and counts what it did", async () => {
  const fault = await service.withFault({ target: "readiness", mode: "status", status: 503 }, async (fault) => {
    assert.equal(await status("/readyz"), 503);
    assert.equal(await status("/healthz"), 200);
    return fault;
  });
  assert.equal(await status("/readyz"), 200);
  assert.deepEqual(await fault.counts(), { eligible: 1, injected: 1 });
  await fault.assertInjected();
});

test("a fault that did nothing fails the assertion", async () => {
  const fault = await service.withFault({ target: "liveness", mode: "status" }, async (fault) => fault);
  await assert.rejects(fault.assertInjected(), /acted on 0 of 0 requests, expected at least 1/);
});

test("a function that throws ends its fault", async () => {
  await assert.rejects(service.withFault({ target: "liveness", mode: "status" }, () => Promise.reject(new RangeError())), RangeError);
  assert.deepEqual((await service.state()).rules, []);
});

test("a fault that somebody else removed ends quietly, and no other of its name is replaced", async () => {
  await service.withFault({ name: "taken", target: "liveness", mode: "status" }, async () => {
    await assert.rejects(service.fault({ name: "taken", target: "readiness", mode: "status" }), /named taken is in force already/);
    await service.request("DELETE", "/v1/faults/taken");
  });
});

test("a wrong fault says which fields are wrong", async () => {
  await assert.rejects(service.fault({ target: "readiness", mode: "stats", rate: "200%" }), (error: ProbesimError) => {
    assert.equal(error.status, 422);
    assert.equal(error.reasons.length, 2);
    assert.match(error.message, /did you mean "status"\?/);
    return true;
  });
});

test("a stop ends faults until they resume, and a token is sent", async () => {
  const other = await start({ env: { ADMIN_TOKEN: "a-token-for-a-test" } });
  try {
    await other.fault({ target: "liveness", mode: "status" });
    await other.stop();
    assert.equal(await status("/healthz", other), 200);
    await other.resume();
    assert.equal(await status("/healthz", other), 500);
    await assert.rejects(new Service({ admin: other.admin }).state(), { status: 401 });
  } finally {
    await other.close();
  }
});

test("a service that does not start says why", async () => {
  await assert.rejects(start({ env: { PORT: "x" } }), /PORT="x"/);
  await assert.rejects(start({ binary: "/no/such/program" }), /cannot be run/);
  await assert.rejects(new Service({ admin: "http://127.0.0.1:1" }).state(), /no answer from http:\/\/127\.0\.0\.1:1/);
});

test("an image is run and removed", { skip: !process.env["PROBESIM_IMAGE"] }, async () => {
  const words = (name: string) => (process.env[name] ?? "").split(" ").filter((word) => word !== "");
  const image = process.env["PROBESIM_IMAGE"] ?? "";
  const inside = await container({ image, runtime: words("PROBESIM_RUNTIME"), options: words("PROBESIM_RUN_OPTIONS") });
  try {
    await inside.withFault({ target: "readiness", mode: "status", status: 503 }, async (fault) => {
      assert.equal(await status("/readyz", inside), 503);
      await fault.assertInjected();
    });
  } finally {
    await inside.close();
  }
  await assert.rejects(inside.state(), /no answer/);
});
