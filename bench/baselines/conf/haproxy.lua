core.register_action("wait", { "http-req" }, function()
    core.msleep(@DELAY@)
end)
