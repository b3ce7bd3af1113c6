"""Nothing here is collected: ``test_third_party_plugin.py`` installs what is here and runs its tests."""

collect_ignore_glob = ["*"]
